"""For the person with the cable: put an image on the board, and say what is on it. Called over the
raw REPL.
"""

from boot import record, slots


def _no_watchdog():
    pass


def install(board, path, digest, sequence, feed=_no_watchdog):
    """Writes the image file at `path` into a slot and makes it the running one; forgets trials and
    the sequence floor.

    digest: SHA-256, 32 bytes; sequence: the release's number. Uses the slot that does not run, so
    that a pulled cable leaves the board as it was. Raises slots.SlotError or OSError and then has
    changed nothing that boots.
    """
    store = record.Store(board)
    old = store.load()
    index = 1 - old.running if old else 0
    if old and old.trial != record.NONE:
        old.end_trial(record.ROLLED_BACK, record.RESET)
    if old:
        old.slots[index].state = record.EMPTY
        store.save(old)
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        writer = slots.Writer(board, index, size, feed)
        buffer = bytearray(1024)
        view = memoryview(buffer)
        while True:
            count = file.readinto(buffer)
            if not count:
                break
            writer.write(view[:count])
    writer.finish(digest)
    new = record.Record()
    new.counter = old.counter if old else 0
    if old:
        new.slots[old.running] = old.slots[old.running]
    new.slots[index] = record.Slot(record.GOOD, size, sequence, digest)
    new.running = index
    new.floor = sequence
    store.save(new)


def status(board):
    """What is on the board: a dict for JSON, or None when it has no boot record.

    {"running": "A", "trial": None, "floor": 3, "slots": {"A": {"size", "sequence", "state",
    "digest", "whole"}, ...}}
    """
    kept = record.Store(board).load()
    if kept is None:
        return None
    found = {}
    for index, slot in enumerate(kept.slots):
        whole = slot.state != record.EMPTY and 0 < slot.size <= slots.capacity(board)
        if whole:
            whole = slots.digest(slots.view(board, index, slot.size), _no_watchdog) == slot.digest
        found[slots.NAMES[index]] = {
            "size": slot.size,
            "sequence": slot.sequence,
            "state": ("empty", "installed", "good")[slot.state],
            "digest": "".join("%02x" % byte for byte in slot.digest),
            "whole": whole,
        }
    trial = None if kept.trial == record.NONE else slots.NAMES[kept.trial]
    return {
        "running": slots.NAMES[kept.running],
        "trial": trial,
        "attempts": kept.attempts,
        "outcome": ("none", "confirmed", "rolled-back")[kept.outcome],
        "reason": record.REASONS[kept.outcome_reason],
        "floor": kept.floor,
        "bad": ["".join("%02x" % byte for byte in digest) for digest in kept.bad],
        "slots": found,
    }
