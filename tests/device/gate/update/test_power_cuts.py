"""The power is cut at every single operation of an update, and the update still comes to its right end.

An operation is an erase or a write of flash, or a change of a file. Cut operations are half done. After each cut the
board must find a slot to boot, the sequence floor must not fall, and in the end the wanted image must run, whole.
"""

import check
from check import Random, equal, true
from sim_gateway import World, envelope

HEAP = "4m"
SLOTS = ("rom", "file")
MARKS = ("soak",)
TIMEOUT_S = 900
SAMPLE = 8  # cut points tried on MicroPython; CPython and `make soak` try all
SAMPLE_SIGNED = 3  # the same, where each boot verifies signatures


def test_every_cut_of_a_patch_update():
    every_cut("patch", "confirmed", 2)


def test_every_cut_of_an_image_update():
    every_cut("image", "confirmed", 2)


def test_every_cut_of_a_rollback():
    every_cut("patch", "rolled-back", 1, lambda boot: boot.board.hang())


def test_every_cut_of_a_way_back():
    every_cut("back", "confirmed", 5, runs=4)


def test_every_cut_of_a_new_number():
    every_cut("back", "current", 1, floor=5)


def test_every_cut_of_an_update_with_signatures():
    every_cut("next-patch", "confirmed", 3, runs=2, signed=envelope("patch"))


def test_many_cuts_in_one_update():
    random = Random(5)
    world, start = flashed()
    cuts = 0
    for _ in range(40 if check.ground == "cpython" or check.full() else 4):
        world.restore(start)
        before = cuts
        world.board.cut_at(1 + random.below(12))
        for _ in range(300):
            end = boot_once(world)
            if end == "stopped":
                break
            cuts += end == "cut"
            if cuts - before < 20:
                world.board.cut_at(1 + random.below(30))
        check_end(world, "confirmed", 2)
    world.close()
    true(cuts > 20, "%d cuts" % cuts)
    print("%d cuts in all" % cuts)


def test_small_files_are_made_durable():
    # Else a power cut brings back an old counter, where the file system writes later, and with it a command.
    world, _ = flashed()
    synced = []
    sync = world.board.sync

    def noted(folder):
        synced.append(folder)
        sync(folder)

    world.board.sync = noted
    world.idle()
    world.close()
    true(any(folder.endswith("/state") for folder in synced), synced)


def every_cut(name, phase, sequence, behave=None, runs=1, floor=None, signed=None):
    """Runs the update called `name` of a board that runs release `runs` once without a cut, then once for each of its
    operations with that one cut. floor: where the sequence floor must be in the end. signed: envelope of the first
    release, for a loader that verifies signatures.
    """
    world, start = flashed(runs, signed)
    world.offer = envelope(name)
    if behave:
        world.behave[2] = behave
    world.board.log = log = []
    world.idle()
    check_end(world, phase, sequence)
    total = len(log)
    world.board.log = None
    points = range(1, total + 1)
    if check.ground != "cpython" and not check.full():
        points = range(1, total + 1, max(1, total // (SAMPLE_SIGNED if signed else SAMPLE)))
    for point in points:
        world.restore(start)
        world.board.cut_at(point)
        lowest = runs
        for _ in range(20):
            end = boot_once(world)
            status = world.slots()
            true(status["slots"][status["running"]]["whole"], "a slot to boot after a cut at %d" % point)
            true(status["floor"] >= lowest, "floor after a cut at %d" % point)
            lowest = status["floor"]
            if end == "stopped":
                break
        try:
            check_end(world, phase, sequence)
            true(floor is None or lowest == floor, "floor %d" % lowest)
        except AssertionError as error:
            raise AssertionError("cut at %d of %d (%s): %s" % (point, total, log[point - 1], error))
    world.close()
    print("%s: %d of %d operations cut" % (name, len(points), total))


def flashed(runs=1, signed=None):
    """(World, snapshot) with release `runs` on the board and release 2 offered."""
    world = World()
    world.flash(runs, signed, '{"verify": "signature"}' if signed else None)
    world.offer = envelope("patch")
    return world, world.snapshot()


def boot_once(world):
    """One boot, for half an hour at most; how it ended."""
    world._wanted = None
    return world.boot(1800 * 1000)


def check_end(world, phase, sequence):
    status = world.slots()
    slot = status["slots"][status["running"]]
    equal(slot["sequence"], sequence, "sequence")
    true(slot["whole"], "whole")
    equal(status["trial"], None, "trial")
    true(phase in world.phases(), "%s in %s" % (phase, world.phases()))
    names = sorted(name for name in world.state_names() if not name.startswith("counters"))
    equal(names, [], "files left")
