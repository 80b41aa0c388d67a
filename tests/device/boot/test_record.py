"""The boot record: two copies, one of them always whole."""

import sim_loader
from boot import record, storage
from check import Random, equal, raises, true

HEAP = "1m"
SLOTS = ("rom", "file")
GROUNDS = ("cpython", "unix", "cortex-m3")
DIGEST = bytes(range(32))
SIZE = 276  # bytes of a record


def stored(board):
    """The record's two copies, where this board keeps them."""
    return record.Store(storage.open_slots(board, board.slots))


def saved(board=None):
    """(board, record) with a little of everything in it, saved three times."""
    board = board or sim_loader.board(blocks=2)
    store = stored(board)
    kept = record.Record()
    kept.running, kept.trial, kept.attempts, kept.starts, kept.reason = 0, 1, 2, 3, record.TIMEOUT
    kept.floor = 0xFFFFFFFF
    kept.slots[0] = record.Slot(record.GOOD, 5000, 7, DIGEST)
    kept.slots[1] = record.Slot(record.INSTALLED, 6000, 8, bytes(reversed(DIGEST)))
    kept.outcome, kept.outcome_reason = record.ROLLED_BACK, record.EXCEPTION
    kept.last_sequence, kept.last_digest = 9, bytes(31) + b"\x01"
    for number in range(6):
        kept.mark_bad(bytes([number + 1]) * 32)
        store.save(kept)
    return board, kept


def fields(kept):
    found = {name: value for name, value in kept.__dict__.items() if name != "slots"}
    for index, slot in enumerate(kept.slots):
        found[index] = (slot.state, slot.size, slot.sequence, slot.digest)
    return found


def cut_save(board, store, kept):
    """How a boot ended that did nothing but save."""
    return board.boot(lambda board: store.save(kept))


def test_blank_board_has_none():
    equal(stored(sim_loader.board(blocks=2)).load(), None)


def test_round_trip():
    board, kept = saved()
    equal(fields(stored(board).load()), fields(kept))
    equal(kept.bad, [bytes([number]) * 32 for number in range(3, 7)])


def test_either_copy_may_be_lost():
    for block in range(2):
        board, kept = saved()
        for at in range(SIZE):
            board.damage_record(block, at, 0xFF)
        found = stored(board).load()
        true(found.counter in (kept.counter, kept.counter - 1), "counter %d" % found.counter)


def test_every_flipped_bit_is_noticed():
    board, kept = saved()
    newest = (kept.counter + 1) % 2
    for at in range(SIZE):
        for bit in range(0, 8, 3):
            board.damage_record(newest, at, 1 << bit)
            equal(stored(board).load().counter, kept.counter - 1)
            board.damage_record(newest, at, 1 << bit)
    equal(stored(board).load().counter, kept.counter)


def test_cut_save_is_the_old_record_or_the_new():
    board, kept = saved()
    start = board.snapshot()
    for point in (1, 2):
        for _ in range(40):
            board.restore(start)
            store = stored(board)
            change = store.load()
            change.floor = 5
            board.cut_at(point)
            equal(cut_save(board, store, change), "cut")
            found = stored(board).load()
            true((found.counter, found.floor) in ((6, 0xFFFFFFFF), (7, 5)), "record after a cut")
            # What comes next must not take the half-written copy for the newest.
            equal(cut_save(board, stored(board), change), "ended")
            equal(stored(board).load().counter, 8)


def test_cuts_one_after_the_other_never_lose_it():
    board, kept = saved()
    random = Random(3)
    counter = kept.counter
    for _ in range(200):
        store = stored(board)
        change = store.load()
        true(change is not None, "a record")
        true(change.counter >= counter, "counter does not fall")
        counter = change.counter
        board.cut_at(random.below(4) + 1)
        cut_save(board, store, change)


def test_flash_that_does_not_keep_is_an_error():
    class Worn:
        def __init__(self, place):
            self.read_record = place.read_record
            self._place = place

        def write_record(self, copy, data):
            self._place.write_record(copy, bytes(len(data)))

    board = sim_loader.board(blocks=2)
    worn = Worn(storage.open_slots(board, board.slots))
    raises(record.RecordError, record.Store(worn).save, record.Record())


def test_nonsense_with_a_right_crc_is_no_record():
    board = sim_loader.board(blocks=2)
    kept = record.Record()
    kept.running = 5
    stored(board).save(kept)
    equal(stored(board).load(), None)
