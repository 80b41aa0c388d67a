"""Report messages about updates, and the phases of an update (docs/reports.md)."""

import cbor

from gate.clock import const

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

# By phase, state and result of LwM2M object 5; a failure brings its own result, so REFUSED and
# FAILED have none.
_LWM2M_STATE = b"\0\1\1\2\3\3\0\0\0\0\0"
_LWM2M_RESULT = b"\0\0\0\0\0\0\1\x08\0\0\1"

# keys of a report, docs/wire.cddl
_NONCE = const(2)
_RESULT = const(4)
_MANIFEST = const(99)
_LWM2M = const(-257)
_PHASE = const(-258)
_SEQUENCE = const(-259)
_DETAIL = const(-260)
_PROGRESS = const(-261)
_COMPONENT = const(-262)
_AGAIN = const(-263)
# in its result, where that is not true
_CODE = const(5)
_REASON = const(7)

_SHA256 = const(-16)  # the algorithm of a SUIT_Digest
_DETAIL_SIZE = const(160)  # bytes


def shorten(text, size=_DETAIL_SIZE):
    """The text cut to at most `size` bytes of UTF-8, as a message takes it."""
    data = text.encode()
    if len(data) <= size:
        return text
    while size and data[size] & 0xC0 == 0x80:  # not in the middle of a character
        size -= 1
    return data[:size].decode()


def outlasts(topic, payload):
    """Whether a message says what an update has come to. Others can cause refusals and attempts
    without end, but not these.
    """
    if topic != "report":
        return False
    try:
        return cbor.loads(payload).get(_PHASE) in (INSTALLED, TRIAL, CONFIRMED, ROLLED_BACK)
    except (ValueError, AttributeError):  # stored, and damaged
        return False


class Reporter:
    """Makes report messages of one boot and hands them to the outbox. state, result: of LwM2M
    object 5, the latest.
    """

    def __init__(self, nonce, outbox, on_end):
        """on_end() is called when an update has ended, whatever the end."""
        self._nonce = nonce
        self._outbox = outbox
        self._on_end = on_end
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
        again=0,
    ):
        """manifest_digest: SHA-256 or None if it is not known; progress: (done, total) bytes;
        component: the name of a data component, if the report is about one and not the image;
        again: after so many seconds the device tries again, or goes on, by itself.
        """
        state, result = _LWM2M_STATE[phase], _LWM2M_RESULT[phase]
        if failure:
            state, result = 0, failure.result
        if component is None:
            self.state, self.result = state, result
        message = {
            _NONCE: self._nonce,
            _RESULT: {_CODE: failure.code, _REASON: failure.reason} if failure else True,
            _LWM2M: [state, result],
            _PHASE: phase,
            _SEQUENCE: sequence,
        }
        if manifest_digest:
            message[_MANIFEST] = [[_SHA256, manifest_digest]]
        text = detail or (failure.detail if failure else "")
        if text:
            message[_DETAIL] = shorten(text)
        if progress:
            message[_PROGRESS] = list(progress)
        if component:
            message[_COMPONENT] = component
        if again:
            message[_AGAIN] = again
        # Progress is worthless later; everything else is stored until it has arrived.
        self._outbox.add("report", cbor.dumps(message), keep=progress is None)
        if not state:
            self.ended()

    def ended(self):
        """The device says again what it is; the server answers with its newest offer."""
        self._on_end()
