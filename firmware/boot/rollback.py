"""What a person may ask of the slots over the air: to look at them, and to go back to the one that
ran before. Wanted once in a while.

Going back obeys the rule that holds for every release: nothing below the sequence floor, which a
confirmed image raises. So it ends a trial, or takes the other slot if that was flashed with a
newer image; to go back behind a confirmed release, its predecessor is signed again.
"""

from boot import options, record, slots, verify

_RESIGN = "sign it again under a new number (tidegate release rollback) and publish that"


def check(boot):
    """(sequence that would run, None), or (None, why not) as a line for people."""
    place, kept = _open(boot)[:2]
    if boot.trial:
        return kept.slots[kept.running].sequence, None
    why = _obstacle(kept)
    if why:
        return None, why
    other = 1 - kept.running
    slot = kept.slots[other]
    name = slots.NAMES[other]
    judge = verify.Verifier(boot.board, place, options.read(boot.board), boot.watchdog.feed)
    try:
        judge.check(slot, other)
    except verify.Unfit as error:
        return None, "slot %s: %s" % (name, error)
    return slot.sequence, None


def go(boot):
    """Does it, in one write of the boot record; from the next reset on the other slot runs. Raises
    ValueError if it is not allowed any more: since `check` the trial may have been confirmed, or
    an update have begun.
    """
    _, kept, store = _open(boot)
    if boot.trial:
        kept.end_trial(record.ROLLED_BACK, record.RESET)
        boot.trial = False
    else:
        why = _obstacle(kept)
        if why:
            raise ValueError(why)
        kept.running = 1 - kept.running
    store.save(kept)


def look(boot):
    """Yields (name, function) of each slot: function(feed) -> [sequence, state, whether the loader
    would boot it, why not or None].
    """
    place, kept, _ = _open(boot)
    told = options.read(boot.board)
    for index in range(record.SLOTS):
        yield slots.NAMES[index], _Judge(boot.board, place, told, kept.slots[index], index).judge


def _obstacle(kept):
    """Why the record lets nobody back into the slot that does not run, or None."""
    other = 1 - kept.running
    slot = kept.slots[other]
    name = slots.NAMES[other]
    if kept.trial != record.NONE:
        return "slot %s holds an update, tried from the next reset on" % name
    if slot.state != record.GOOD:
        return "slot %s holds no confirmed image" % name
    if slot.sequence < kept.floor:
        why = "slot %s holds sequence %d, below the floor %d: " % (name, slot.sequence, kept.floor)
        return why + _RESIGN
    if slot.digest in kept.bad:
        return "slot %s holds an image that failed its trial" % name
    return None


class _Judge:
    def __init__(self, board, place, told, slot, index):
        self._board, self._place, self._told = board, place, told
        self._slot, self._index = slot, index

    def judge(self, feed):
        slot = self._slot
        why = None
        try:
            verify.Verifier(self._board, self._place, self._told, feed).check(slot, self._index)
        except verify.Unfit as error:
            why = str(error)
        return [slot.sequence, ("empty", "installed", "good")[slot.state], why is None, why]


def _open(boot):
    """(place, record, store); raises OSError if the record cannot be read."""
    place = slots.of(boot.board, options.read(boot.board).slots)
    store = record.Store(place)
    kept = store.load()
    if kept is None:
        raise OSError("the boot record is gone")
    return place, kept, store
