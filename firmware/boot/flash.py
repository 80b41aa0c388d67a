"""For the person with the cable: put an image on the board, and say what is on it. Called over the
raw REPL.
"""

from boot import manifests, options, record, slots, verify


def install(board, path, digest, sequence, manifest=None, told=None, feed=slots.no_feed):
    """Writes the image file at `path` into a slot and makes it the running one; forgets trials and
    the sequence floor.

    digest: SHA-256, 32 bytes; sequence: the release's number; manifest: path of its signed
    envelope, or None; told: options.Options, if not those of the board yet. Uses the slot that
    does not run, so that a pulled cable leaves the board as it was. Raises slots.SlotError or
    OSError and then has changed nothing that boots.
    """
    place = slots.of(board, (told or options.read(board)).slots)
    store = record.Store(place)
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
        writer = place.writer(index, size, feed)
        _copy(file, writer)
    writer.finish(digest)
    envelope = slots.read_file(manifest, manifests.SIZE) if manifest else None
    manifests.keep(board, index, envelope)
    new = record.Record()
    new.counter = old.counter if old else 0
    if old:
        new.slots[old.running] = old.slots[old.running]
    new.slots[index] = record.Slot(record.GOOD, size, sequence, digest)
    new.running = index
    new.floor = sequence
    store.save(new)


def install_loader(board, path, digest, feed=slots.no_feed):
    """Writes the ROMFS image file at `path` into the loader's range. digest: SHA-256, 32 bytes.
    Raises slots.SlotError or OSError.
    """
    from boot.romslots import Writer

    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        if not slots.LEAST <= size <= board.LOADER_SIZE:
            raise slots.SlotError("%d bytes, the loader has %d" % (size, board.LOADER_SIZE))
        writer = Writer(board, "the loader", 2 * board.BLOCK, size, feed)
        _copy(file, writer)
    writer.finish(digest)


def status(board, told=None):
    """What is on the board: a dict for JSON, or None when it has no boot record. told: as above.

    {"running": "A", "trial": None, "floor": 3, "slots": {"A": {"size", "sequence", "state",
    "digest", "whole", "why"}, ...}}. whole: whether the loader would boot the slot; why: why not.
    """
    told = told or options.read(board)
    place = slots.of(board, told.slots)
    kept = record.Store(place).load()
    if kept is None:
        return None
    judge = verify.Verifier(board, place, told, slots.no_feed)
    found = {}
    for index, slot in enumerate(kept.slots):
        why = None
        try:
            judge.check(slot, index)
        except verify.Unfit as error:
            why = str(error)
        found[slots.NAMES[index]] = {
            "size": slot.size,
            "sequence": slot.sequence,
            "state": ("empty", "installed", "good")[slot.state],
            "digest": _hex(slot.digest),
            "whole": why is None,
            "why": why,
        }
    trial = None if kept.trial == record.NONE else slots.NAMES[kept.trial]
    return {
        "kind": told.slots,
        "verify": told.verify,
        "running": slots.NAMES[kept.running],
        "trial": trial,
        "attempts": kept.attempts,
        "outcome": ("none", "confirmed", "rolled-back")[kept.outcome],
        "reason": record.REASONS[kept.outcome_reason],
        "floor": kept.floor,
        "bad": [_hex(digest) for digest in kept.bad],
        "slots": found,
    }


def _copy(file, writer):
    buffer = bytearray(1024)
    view = memoryview(buffer)
    while True:
        count = file.readinto(buffer)
        if not count:
            return
        writer.write(view[:count])


def _hex(data):
    return "".join("%02x" % byte for byte in data)
