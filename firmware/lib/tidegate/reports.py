"""What the device says about updates: phases, the codes of failures, and the report messages
(docs/reports.md).
"""

import cbor

from tidegate.clock import const

# phases of an update, docs/wire.cddl
OFFERED = const(1)
FETCHING = const(2)
APPLYING = const(3)
INSTALLED = const(4)
TRIAL = const(5)
CONFIRMED = const(6)
ROLLED_BACK = const(7)
REFUSED = const(8)
FAILED = const(9)
CURRENT = const(10)

# codes of failures; the words are for programs that read alarms
TOO_LARGE = const(1)
MALFORMED = const(2)
UNKNOWN_KEY = const(3)
SIGNATURE = const(4)
WRONG_BOARD = const(5)
OLDER = const(6)
UNSUPPORTED = const(7)
FAILED_BEFORE = const(8)
NO_SPACE = const(9)
PAYLOAD_MISSING = const(10)
PAYLOAD_DIGEST = const(11)
PATCH = const(12)
IMAGE_DIGEST = const(13)
CONNECTION = const(14)
STORAGE = const(15)
MEMORY = const(16)
NO_BRANCH = const(17)
THRESHOLD = const(18)
REJECTED = const(19)
TRIAL_FAILED = const(32)  # plus the loader's reason, boot.record

# reasons of draft-ietf-suit-report
SUIT_CBOR = const(1)
SUIT_COSE = const(2)
SUIT_ALGORITHM = const(3)
SUIT_UNAUTHORISED = const(4)
SUIT_COMMAND = const(5)
SUIT_COMPONENT = const(6)
SUIT_PARAMETER = const(8)
SUIT_CONDITION = const(10)
SUIT_OPERATION = const(11)

# code -> word, SUIT reason, result of LwM2M object 5
_FAILURES = {
    TOO_LARGE: ("too-large", SUIT_CBOR, 6),
    MALFORMED: ("malformed", SUIT_CBOR, 6),
    UNKNOWN_KEY: ("unknown-key", SUIT_UNAUTHORISED, 5),
    SIGNATURE: ("signature", SUIT_UNAUTHORISED, 5),
    WRONG_BOARD: ("wrong-board", SUIT_CONDITION, 6),
    OLDER: ("older", SUIT_CONDITION, 6),
    UNSUPPORTED: ("unsupported", SUIT_COMMAND, 6),
    FAILED_BEFORE: ("failed-before", SUIT_CONDITION, 8),
    NO_SPACE: ("no-space", SUIT_OPERATION, 2),
    PAYLOAD_MISSING: ("payload-missing", SUIT_OPERATION, 7),
    PAYLOAD_DIGEST: ("payload-digest", SUIT_CONDITION, 5),
    PATCH: ("patch", SUIT_OPERATION, 5),
    IMAGE_DIGEST: ("image-digest", SUIT_CONDITION, 5),
    CONNECTION: ("connection", SUIT_OPERATION, 4),
    STORAGE: ("storage", SUIT_OPERATION, 8),
    MEMORY: ("memory", SUIT_OPERATION, 3),
    NO_BRANCH: ("no-branch", SUIT_CONDITION, 8),
    THRESHOLD: ("threshold", SUIT_UNAUTHORISED, 5),
    REJECTED: ("rejected", SUIT_OPERATION, 8),
}
_TRIAL = (
    "none",
    "watchdog",
    "exception",
    "timeout",
    "reset",
    "ended",
    "damaged",
    "power",
    "signature",
    "memory",
)

# phase -> state and result of LwM2M object 5; a failure brings its own result
_LWM2M = {
    OFFERED: (1, 0),
    FETCHING: (1, 0),
    APPLYING: (2, 0),
    INSTALLED: (3, 0),
    TRIAL: (3, 0),
    CONFIRMED: (0, 1),
    ROLLED_BACK: (0, 8),
    CURRENT: (0, 1),
}
_DETAIL_SIZE = const(160)  # bytes


class Failure(Exception):
    """An update that goes no further. code: one of the above; detail: for people; reason: SUIT's,
    if not the code's.
    """

    def __init__(self, code, detail, reason=None):
        super().__init__(detail)
        self.code = code
        self.detail = detail
        if code >= TRIAL_FAILED:
            self.word = _TRIAL[code - TRIAL_FAILED]
            self.reason, self.result = SUIT_OPERATION, 8
        else:
            self.word, self.reason, self.result = _FAILURES[code]
        if reason is not None:
            self.reason = reason


def shorten(text, size=_DETAIL_SIZE):
    """The text cut to at most `size` bytes of UTF-8, as a message takes it."""
    data = text.encode()
    if len(data) <= size:
        return text
    while size and data[size] & 0xC0 == 0x80:  # not in the middle of a character
        size -= 1
    return data[:size].decode()


class Reporter:
    """Makes report messages of one boot and hands them to the outbox. state, result: of LwM2M
    object 5, the latest.
    """

    def __init__(self, nonce, outbox, settled):
        """settled() is called when an update has come to an end, whatever end."""
        self._nonce = nonce
        self._outbox = outbox
        self._settled = settled
        self.state = 0
        self.result = 0

    def report(
        self,
        phase,
        sequence,
        manifest_digest=None,
        failure=None,
        detail=None,
        progress=None,
        component=None,
    ):
        """manifest_digest: SHA-256 or None if it is not known; progress: (done, total) bytes;
        component: the name of a data component, if it is about one and not about the image.
        """
        state, result = _LWM2M[phase] if failure is None else (0, failure.result)
        if component is None:
            self.state, self.result = state, result
        message = {
            2: self._nonce,
            4: True if failure is None else {5: failure.code, 7: failure.reason},
            -257: [state, result],
            -258: phase,
            -259: sequence,
        }
        if manifest_digest:
            message[99] = [[-16, manifest_digest]]
        text = detail or (failure.detail if failure else "")
        if text:
            message[-260] = shorten(text)
        if progress:
            message[-261] = list(progress)
        if component:
            message[-262] = component
        # Progress is worth nothing later; everything else is kept until it has arrived.
        self._outbox.add("report", cbor.dumps(message), keep=progress is None)
        if not state:
            self._settled()
