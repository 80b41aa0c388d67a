"""Why an update ends without success: the codes of failures and their names in the standards
(docs/reports.md).
"""

from gate.clock import const

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
NEEDS = const(20)
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
    NEEDS: ("needs", SUIT_CONDITION, 8),
}
# why a trial failed: the loader's words in the order of their numbers, and sentences for people
_TRIALS = (
    ("none", "no reason is known"),
    ("watchdog", "it hung: the watchdog reset the board in its last attempt"),
    ("exception", "it raised an exception in its last attempt"),
    ("timeout", "it did not prove itself in time"),
    ("reset", "the board was reset before it proved itself"),
    ("ended", "the application ended"),
    ("damaged", "the image in its slot is damaged"),
    ("power", "the power was cut too often during its trial"),
    ("signature", "the loader found no valid signature for it"),
    ("memory", "the board has too little memory for its image"),
)


class Failure(Exception):
    """An update that ends without success. code: one of the above; detail: for people; reason:
    SUIT's, if not the code's; word: for programs; result: of LwM2M object 5; asked_s: seconds that
    a server asked to wait.
    """

    asked_s = 0

    def __init__(self, code, detail, reason=None):
        super().__init__(detail)
        self.code = code
        self.detail = detail
        if code >= TRIAL_FAILED:
            self.word = _TRIALS[code - TRIAL_FAILED][0]
            self.reason, self.result = SUIT_OPERATION, 8
        else:
            self.word, self.reason, self.result = _FAILURES[code]
        if reason is not None:
            self.reason = reason


def trial_failure(word, detail=""):
    """The Failure of a trial that ended with this word of the loader; without a detail, the word's
    sentence.
    """
    number = trial_number(word)
    return Failure(TRIAL_FAILED + number, detail or _TRIALS[number][1])


def trial_number(word):
    """The loader's number of a word. Raises ValueError."""
    for number, entry in enumerate(_TRIALS):
        if entry[0] == word:
            return number
    raise ValueError(word)
