"""When an update that ended for a reason outside of the image is tried again, and when that is
reported (docs/reports.md, docs/decisions/0034).

What is known of one image is a list, stored as a small file, so that pauses go on growing over
resets. It is about the image's digest: the same image under another number is no other case.
"""

from gate.clock import const
from gate.update import failures

FILE = "retry"

# places in the list
DIGEST = const(0)  # of the image or content
_TRIES = const(1)  # failures in a row before there was a trial
_TRIALS = const(2)  # trials that ended for a reason outside of the image
_ALONE = const(3)  # those after which the old image reached the broker at once
_LEFT = const(4)  # seconds until the next trial; _UNJUDGED: nobody has looked yet
_SAID = const(5)  # bit mask: which failures were reported in these 24 hours
_SINCE = const(6)  # seconds of pauses since then
_LENGTH = const(7)

_UNJUDGED = const(-1)
_FIRST_S = const(60)
_DAY_S = const(86400)
_TRIAL_FIRST_S = const(300)
_TRIAL_MOST_S = const(21600)
# After so many trials in which only the new image was without a broker it may be the image's own
# fault: then the pause grows to a week. It is never banned: who can drop packets has no veto.
_MOST_ALONE = const(3)
_INHERITED = const(4)  # failures at most that another image takes over
_ASKED_MOST_S = const(3600)  # of what a server asks to wait
_ALONE_MOST_S = const(604800)

# the longest pause after each failure that may pass, seconds
_MOST_S = {
    failures.CONNECTION: 300,
    failures.PAYLOAD_MISSING: 3600,
    failures.PAYLOAD_DIGEST: 14400,
    # These are about the board itself: a day, as each attempt writes flash.
    failures.NO_SPACE: _DAY_S,
    failures.PATCH: _DAY_S,
    failures.IMAGE_DIGEST: _DAY_S,
    failures.STORAGE: _DAY_S,
    failures.MEMORY: _DAY_S,
}


def load(state, name, digest):
    """The list about this image, or a new one. state: SmallFiles; name: of the file."""
    found = _stored(state, name)
    if found and found[DIGEST] == digest:
        return found
    return [digest] + [0] * (_LENGTH - 1)


def _stored(state, name):
    """The list about whatever image, or None."""
    found = state.load(name)
    right = isinstance(found, list) and len(found) == _LENGTH
    return found if right and all(type(number) is int for number in found[1:]) else None


def failed(state, name, known, code, random, asked_s=0):
    """Notes a failure before the trial. Returns (seconds of the pause, whether to report it), or
    (0, True) for a failure that no time mends. random(count) -> bytes; asked_s: seconds that the
    server asked to wait at least.

    Two images that are offered in turn have the pauses of one: what fails is the same server.
    """
    most = _MOST_S.get(code)
    if not most:
        return 0, True
    if not known[_TRIES]:
        other = _stored(state, name)
        known[_TRIES] = min(other[_TRIES], _INHERITED) if other else 0
    pause = growing(_FIRST_S, known[_TRIES], most)
    grows = pause < most
    known[_TRIES] += 1
    if known[_SINCE] >= _DAY_S:
        known[_SAID] = known[_SINCE] = 0
    said = known[_SAID] >> code & 1
    known[_SAID] |= 1 << code
    pause = _jittered(pause, random)
    if asked_s:
        asked_s = min(asked_s, _ASKED_MOST_S)
        pause = max(pause, asked_s + asked_s * random(1)[0] // 1024)
    known[_SINCE] += pause
    if grows or not said:  # else it would only wear out flash
        _store(state, name, known)
    return pause, not said


def trial_ended(state, name, digest):
    """Notes a trial that ended for a reason outside of the image. Returns the seconds of the pause
    that it begins.
    """
    known = load(state, name, digest)
    known[_TRIES] = 0
    known[_TRIALS] += 1
    known[_LEFT] = _UNJUDGED
    _store(state, name, known)
    return _trial_pause(known)


def wait(state, name, known, at_once, random):
    """The seconds to wait before the next trial, 0 without a reason. Call it once a boot.

    at_once: whether this image reached the broker right after its start: the yardstick for an
    image that did not. A reset halves what is left, so that no rhythm of resets makes it endless.
    """
    if not known[_LEFT]:
        return 0
    if known[_LEFT] == _UNJUDGED:
        known[_ALONE] += bool(at_once)
        known[_LEFT] = _jittered(_trial_pause(known), random)
    else:
        known[_LEFT] //= 2
    _store(state, name, known)
    return known[_LEFT]


def waited(state, name, known):
    """The pause is over."""
    if known[_LEFT]:
        known[_LEFT] = 0
        _store(state, name, known)


def is_repeated(known):
    """Whether something of this image was tried before: then only what is new is reported."""
    return known[_TRIES] > 0


def is_alone(known):
    """Whether so many trials failed only for the new image that it looks like its own fault."""
    return known[_ALONE] >= _MOST_ALONE


def _trial_pause(known):
    most = _ALONE_MOST_S if is_alone(known) else _TRIAL_MOST_S
    return growing(_TRIAL_FIRST_S, known[_TRIALS] - 1, most)


def growing(first, times, most):
    """A pause that doubles each time, seconds."""
    return min(first << min(times, 16), most)


def _jittered(seconds, random):
    """Between three quarters and five quarters: a fleet must not come back in one moment."""
    return seconds * (192 + random(1)[0] // 2) // 256


def _store(state, name, known):
    try:
        state.store(name, known)
    except OSError:  # full, or worn out: the pauses begin anew after a reset
        pass
