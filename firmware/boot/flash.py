"""Puts an image on the board and reports what is on it, for the person with the cable. The host
calls it over the raw REPL.
"""

from boot import manifests, record, slots
from boot import options as boot_options
from boot.storage import open_slots
from boot.verify import Verifier


def install(board, path, digest, sequence, manifest=None, options=None, feed=slots.no_feed):
    """Writes the image file at `path` into a slot and makes it the running one; clears trials and
    the sequence floor.

    digest: SHA-256, 32 bytes; sequence: the release's number; manifest: path of its signed
    envelope, or None; options: options.Options, None: those of the board. Uses the slot that does
    not run, so that a pulled cable leaves the board as it was. Raises slots.SlotError or OSError,
    and then has changed nothing that boots.
    """
    board_slots = open_slots(board, (options or boot_options.read(board)).slots)
    store = record.Store(board_slots)
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
        writer = board_slots.writer(index, size, feed)
        _copy(file, writer)
    writer.finish(digest)
    envelope = slots.read_file(manifest, manifests.SIZE) if manifest else None
    manifests.store(board, index, envelope)
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
        if not slots.MIN_SIZE <= size <= board.LOADER_SIZE:
            raise slots.SlotError("%d bytes, the loader has %d" % (size, board.LOADER_SIZE))
        writer = Writer(board, "the loader", 2 * board.BLOCK, size, feed)
        _copy(file, writer)
    writer.finish(digest)


def status(board, options=None):
    """What is on the board: a dict for JSON, or None when it has no boot record. options: as for
    install.

    {"running": "A", "trial": None, "floor": 3, "slots": {"A": {"size", "sequence", "state",
    "digest", "whole", "why"}, ...}}. whole: whether the loader would boot the slot; why: why not.
    """
    options = options or boot_options.read(board)
    board_slots = open_slots(board, options.slots)
    found = record.Store(board_slots).load()
    if found is None:
        return None
    verifier = Verifier(board, board_slots, options, slots.no_feed)
    described = {}
    for index, slot in enumerate(found.slots):
        why = verifier.problem(slot, index)
        described[slots.NAMES[index]] = {
            "size": slot.size,
            "sequence": slot.sequence,
            "state": record.STATES[slot.state],
            "digest": slot.digest.hex(),
            "whole": why is None,
            "why": why,
        }
    return {
        "kind": options.slots,
        "verify": options.verify,
        "running": slots.NAMES[found.running],
        "trial": None if found.trial == record.NONE else slots.NAMES[found.trial],
        "attempts": found.attempts,
        "outcome": record.OUTCOMES[found.outcome],
        "reason": record.REASONS[found.outcome_reason],
        "floor": found.floor,
        "bad": [digest.hex() for digest in found.bad],
        "slots": described,
    }


def _copy(file, writer):
    buffer = bytearray(1024)
    view = memoryview(buffer)
    while True:
        count = file.readinto(buffer)
        if not count:
            return
        writer.write(view[:count])
