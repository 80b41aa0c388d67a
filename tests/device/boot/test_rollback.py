"""What may be asked of the slots over the air: to look at them, and to go back, where the rules let it."""

from boot import flash, loader, rollback
from check import equal, raises, true
from sim_loader import kind
from test_loader import IMAGE, OTHER, arm, board_with, install, ran

HEAP = "1m"
SLOTS = ("rom", "file")


def during(board, work):
    """What work(boot) returns while the application runs; the boot ends by a reset."""
    found = []

    def launch(boot):
        found.append(work(boot))
        boot.reset()

    board.boot(lambda board: loader.run(board, launch))
    return found[0]


def on_trial():
    """A board that runs 3 and has 4 armed."""
    board = board_with()
    board.boot(lambda board: loader.run(board, arm))
    return board


def flashed_over():
    """A board that runs 3, flashed by a person over a confirmed 5."""
    board = board_with(IMAGE, 5)
    install(board, OTHER, 3)
    return board


def looked(boot):
    return {name: judge(lambda: None) for name, judge in rollback.look(boot)}


def test_with_nothing_to_go_back_to():
    equal(during(board_with(), rollback.check), (None, "slot B holds no confirmed image"))


def test_a_confirmed_release_is_not_gone_behind():
    board = on_trial()
    during(board, lambda boot: boot.confirm())
    sequence, why = during(board, rollback.check)
    equal(sequence, None)
    true("sequence 3, below the floor 4" in why and "tidegate release rollback" in why, why)
    equal(ran(board), ("B", 4, False))


def test_a_trial_is_ended():
    board = on_trial()

    def work(boot):
        equal((boot.trial, rollback.check(boot)), (True, (3, None)))
        rollback.go(boot)
        equal(boot.trial, False)
        boot.confirm()  # too late, and without effect

    during(board, work)
    equal(ran(board), ("A", 3, False))
    status = flash.status(board)
    equal((status["outcome"], status["reason"], status["trial"]), ("rolled-back", "reset", None))
    equal(len(status["bad"]), 1, "it is not tried again")


def test_back_to_what_was_flashed_over():
    board = flashed_over()
    equal(during(board, lambda boot: (boot.slot, rollback.check(boot))), ("B", (5, None)))
    during(board, rollback.go)
    equal(ran(board), ("A", 5, False))
    equal(flash.status(board)["floor"], 3)


def test_a_trial_that_was_confirmed_in_between():
    board = on_trial()

    def work(boot):
        equal(rollback.check(boot), (3, None))
        boot.confirm()  # while the answer was on its way
        why = raises(ValueError, rollback.go, boot)
        true("below the floor 4" in str(why), why)

    during(board, work)
    equal(ran(board), ("B", 4, False))


def test_an_update_that_began_in_between():
    board = flashed_over()

    def work(boot):
        equal(rollback.check(boot), (5, None))
        boot.slot_writer(len(IMAGE))
        raises(ValueError, rollback.go, boot)

    during(board, work)
    equal(ran(board), ("B", 3, False))


def test_an_update_that_begins_before_the_reset():
    board = flashed_over()

    def work(boot):
        rollback.go(boot)
        raises(boot.SlotError, boot.slot_writer, len(IMAGE))
        raises(boot.SlotError, boot.arm_trial, len(IMAGE), bytes(32), 9)

    during(board, work)
    equal(ran(board), ("A", 5, False))


def test_not_into_a_damaged_slot():
    board = flashed_over()
    board.damage_slot(0, 1000)
    (sequence, why), found = during(board, lambda boot: (rollback.check(boot), looked(boot)))
    equal(sequence, None)
    true("slot A" in why and "not the image" in why, why)
    equal(found["B"], [3, "good", True, None])
    equal(found["A"][:3], [5, "good", False])


def test_power_cuts_while_going_back():
    board = flashed_over()
    start = board.snapshot()
    cuts = 0
    while True:
        board.restore(start)

        def work(boot, at=cuts + 1):
            board.cut_at(at)
            rollback.go(boot)
            board.cut_at(None)
            return True

        try:
            during(board, work)
            break
        except IndexError:  # cut: work has returned nothing
            cuts += 1
        true(ran(board) in (("A", 5, False), ("B", 3, False)), "cut %d" % cuts)
    equal(ran(board), ("A", 5, False))
    true(cuts >= (2 if kind() == "rom" else 1), "%d cuts" % cuts)
