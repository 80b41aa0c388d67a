"""Inspects the slots and goes back to the one that ran before, for commands over the air.

Going back obeys the rule that holds for every release: nothing below the sequence floor, which a
confirmed image raises. So it ends a trial, or selects the other slot if that was flashed with a
newer image. To go back behind a confirmed release, its predecessor is signed again.

Agents of every release call `check`, `go` and `look`: their arguments and answers never change.
"""

from boot import options
from boot.record import GOOD, NONE, RESET, ROLLED_BACK, SLOTS, STATES
from boot.slots import NAMES
from boot.storage import open_record
from boot.verify import Verifier

_RESIGN = "sign it again under a new number (tidegate release rollback) and publish that"


def check(boot):
    """(sequence that would run, None), or (None, why not) as a line for people."""
    found = options.read(boot.board)
    slots, _, record = open_record(boot.board, found.slots)
    if boot.trial:
        return record.slots[record.running].sequence, None
    why = _obstacle(record)
    if why:
        return None, why
    other = 1 - record.running
    slot = record.slots[other]
    why = Verifier(boot.board, slots, found, boot.watchdog.feed).problem(slot, other)
    if why:
        return None, "slot %s: %s" % (NAMES[other], why)
    return slot.sequence, None


def go(boot):
    """Goes back, in one write of the boot record: from the next reset on the other slot runs.

    Raises ValueError if it is not allowed any more: since `check` the trial may have been
    confirmed, or an update may have begun.
    """
    _, store, record = open_record(boot.board, options.read(boot.board).slots)
    if boot.trial:
        record.end_trial(ROLLED_BACK, RESET)
        boot.trial = False
    else:
        why = _obstacle(record)
        if why:
            raise ValueError(why)
        record.running = 1 - record.running
    store.save(record)


def look(boot):
    """Yields (name, function) of each slot: function(feed) -> [sequence, state, whether the loader
    would boot it, why not or None].
    """
    found = options.read(boot.board)
    slots, _, record = open_record(boot.board, found.slots)
    for index in range(SLOTS):
        yield NAMES[index], _Inspection(boot.board, slots, found, record.slots[index], index).run


def _obstacle(record):
    """Why the record does not allow the slot that does not run, or None."""
    other = 1 - record.running
    slot = record.slots[other]
    name = NAMES[other]
    if record.trial != NONE:
        return "slot %s holds an update, tried from the next reset on" % name
    if slot.state != GOOD:
        return "slot %s holds no confirmed image" % name
    if slot.sequence < record.floor:
        why = "slot %s holds sequence %d, below the floor %d: "
        return why % (name, slot.sequence, record.floor) + _RESIGN
    if slot.digest in record.bad:
        return "slot %s holds an image that failed its trial" % name
    return None


class _Inspection:
    def __init__(self, board, slots, board_options, slot, index):
        self._board, self._slots, self._options = board, slots, board_options
        self._slot, self._index = slot, index

    def run(self, feed):
        slot = self._slot
        verifier = Verifier(self._board, self._slots, self._options, feed)
        why = verifier.problem(slot, self._index)
        return [slot.sequence, STATES[slot.state], why is None, why]
