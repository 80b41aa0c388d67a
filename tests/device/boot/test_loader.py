"""The loader and what flashing uses of it, on the simulated board."""

import hashlib
import os
import sys

import scratch
import sim_loader
from boot import flash, loader, slots, storage
from check import equal, raises, skip, true
from sim_board import BLOCK

HEAP = "1m"
SLOTS = ("rom", "file")

IMAGE = bytes(range(256)) * 19 + b"end"
OTHER = b"other" * 1000


def sha256(data):
    return hashlib.sha256(data).digest()


def board_with(image=IMAGE, sequence=3):
    board = sim_loader.board()
    install(board, image, sequence)
    return board


def install(board, image, sequence):
    path = board.folder + "/image"
    scratch.write(path, image)
    flash.install(board, path, sha256(image), sequence)


def ran(board):
    """What one boot ran: (slot, sequence, trial) or None for safe mode."""
    found = []
    board.boot(lambda board: loader.run(board, lambda boot: found.append(boot)))
    if not found:
        return None
    return found[0].slot, found[0].running.sequence, found[0].trial


def test_blank_board_is_safe_mode():
    board = sim_loader.board()
    equal(ran(board), None)
    equal(flash.status(board), None)


def test_flashed_board_runs():
    board = board_with()
    equal(ran(board), ("A", 3, False))
    status = flash.status(board)
    equal(status["slots"]["A"]["digest"], "".join("%02x" % byte for byte in sha256(IMAGE)))
    equal((status["running"], status["trial"], status["floor"]), ("A", None, 3))


def test_flashing_again_takes_the_other_slot_and_may_go_back():
    board = board_with()
    install(board, OTHER, 2)
    equal(ran(board), ("B", 2, False))
    equal(flash.status(board)["floor"], 2)


def test_flashing_cut_anywhere_keeps_what_ran():
    board = board_with()
    path = board.folder + "/image"
    scratch.write(path, OTHER)
    start = board.snapshot()
    board.log = []
    flash.install(board, path, sha256(OTHER), 4)
    total = len(board.log)
    true(total > (15 if sim_loader.kind() == "rom" else 6), "operations %d" % total)
    for point in range(1, total + 1):
        board.restore(start)
        board.cut_at(point)
        end = board.boot(lambda board: flash.install(board, path, sha256(OTHER), 4))
        equal(end, "cut")
        true(ran(board) in (("A", 3, False), ("B", 4, False)), "cut at %d" % point)


def test_half_a_slot_is_no_image_to_anybody():
    """What makes an image of it, its first page or its name, comes when the rest was read back and is right."""
    board = board_with()
    place = storage.open_slots(board, board.slots)
    writer = place.writer(1, len(OTHER), slots.no_feed)
    for at in range(0, len(OTHER), 100):
        writer.write(OTHER[at : at + 100])
        equal(begins(place), False, "after %d bytes" % at)
    raises(slots.SlotError, writer.finish, sha256(IMAGE))
    equal(begins(place), False, "a wrong image")


def begins(place):
    """Whether there is the beginning of an image in slot B."""
    if hasattr(place, "path"):
        name = place.path(1)
        return name[name.rfind("/") + 1 :] in os.listdir(name[: name.rfind("/")])
    return bytes(place.image(1, 4).view()) == OTHER[:4]


def test_flashing_a_wrong_image_changes_nothing_that_boots():
    board = board_with()
    path = board.folder + "/image"
    scratch.write(path, OTHER)
    raises(slots.SlotError, flash.install, board, path, sha256(IMAGE), 4)
    equal(ran(board), ("A", 3, False))
    scratch.write(path, b"short")
    raises(slots.SlotError, flash.install, board, path, sha256(b"short"), 4)


def test_image_larger_than_a_slot():
    board = board_with()
    path = board.folder + "/image"
    scratch.write(path, bytes(storage.open_slots(board, board.slots).capacity + 1))
    raises(slots.SlotError, flash.install, board, path, bytes(32), 4)


def test_largest_image_fits():
    board = board_with()
    install(board, b"\x5a" * (4 * BLOCK), 4)
    equal(ran(board), ("B", 4, False))


def test_damaged_only_slot_is_safe_mode():
    board = board_with()
    board.damage_slot(0, 700)
    equal(ran(board), None)


def test_damage_after_the_image_does_not_matter():
    board = board_with()
    if sim_loader.kind() == "file":
        skip("a file ends with its image")
    board.damage_slot(0, len(IMAGE) + 5)
    equal(ran(board), ("A", 3, False))


def test_unverified_trial_is_never_run():
    board = board_with()
    board.boot(lambda board: loader.run(board, arm))
    board.damage_slot(1, 99)
    equal(ran(board), ("A", 3, False))
    status = flash.status(board)
    equal((status["outcome"], status["reason"]), ("rolled-back", "damaged"))


def arm(boot):
    """Puts OTHER on trial, as an update does."""
    writer = boot.slot_writer(len(OTHER))
    for at in range(0, len(OTHER), 77):
        writer.write(memoryview(OTHER)[at : at + 77])
    writer.finish(sha256(OTHER))
    boot.arm_trial(len(OTHER), sha256(OTHER), 4)


def for_firmware(digest):
    """An image whose modules were left out for a MicroPython with this digest."""
    return b"\xd2\xcd\x31\xa0\x00\x05\x13\x06FROZEN\x02\x08" + digest + bytes(range(256)) * 3


def test_an_image_for_another_firmware_is_refused_before_the_switch():
    board = board_with()
    path = board.folder + "/image"
    for own in (None, b"12345678"):
        board.held = own
        image = for_firmware(b"87654321")
        scratch.write(path, image)
        raises(slots.FirmwareError, flash.install, board, path, sha256(image), 4)
        equal(begins(storage.open_slots(board, board.slots)), False)
        equal(ran(board), ("A", 3, False))
    install(board, for_firmware(b"12345678"), 5)
    equal(ran(board), ("B", 5, False))


def test_a_firmware_that_lost_the_images_modules_does_not_boot_it():
    board = board_with()
    board.held = b"12345678"
    install(board, for_firmware(board.held), 5)
    equal(ran(board), ("B", 5, False))
    board.held = b"another1"  # somebody put another MicroPython on the board
    true("holds other modules" in flash.status(board)["slots"]["B"]["why"])
    equal(ran(board), ("A", 3, False))
    board.held = None
    equal(ran(board), ("A", 3, False))


def test_installing_cut_anywhere_is_not_taken_for_damage():
    """A record that tells of an image before its name is durable would have it rolled back, for good."""
    board = board_with()
    start = board.snapshot()
    board.log = []
    board.boot(lambda board: loader.run(board, arm))
    for point in range(1, len(board.log) + 1):
        for _ in range(3):  # how much of what is not durable is lost is chance
            board.restore(start)
            board.cut_at(point)
            equal(board.boot(lambda board: loader.run(board, arm)), "cut")
            true(ran(board) in (("A", 3, False), ("B", 4, True)), "cut at %d" % point)
            equal(flash.status(board)["outcome"], "none", "cut at %d" % point)


def test_trial_is_counted_before_it_runs():
    board = board_with()
    board.boot(lambda board: loader.run(board, arm))
    seen = []

    def trial(boot):
        seen.append((flash.status(board)["attempts"], board.feeds))
        boot.reset()

    board.boot(lambda board: loader.run(board, trial))
    equal(seen[0][0], 1)
    for _ in range(2):
        board.boot(lambda board: loader.run(board, trial))
    equal(ran(board), ("A", 3, False))
    status = flash.status(board)
    equal((status["outcome"], status["reason"]), ("rolled-back", "reset"))
    equal(status["bad"], ["".join("%02x" % byte for byte in sha256(OTHER))])


def test_the_way_back_is_never_written():
    board = board_with()
    board.boot(lambda board: loader.run(board, arm))

    def trial(boot):
        raises(slots.SlotError, boot.slot_writer, 5000)
        raises(slots.SlotError, boot.arm_trial, 5000, bytes(32), 9)
        boot.confirm()
        boot.slot_writer(5000)
        raises(slots.SlotError, boot.arm_trial, 5000, bytes(32), 3)

    board.boot(lambda board: loader.run(board, trial))
    equal(flash.status(board)["running"], "B")


def test_crash_of_the_application_is_kept_and_paused():
    def broken(boot):
        raise ValueError("no such pin")

    board = board_with()
    seconds = []
    pauses = []
    real = loader.time
    loader.time = Clock(seconds)
    try:
        for _ in range(3):
            equal(board.boot(lambda board: loader.run(board, broken)), "reset")
            pauses.append(len(seconds))
            seconds.clear()
    finally:
        loader.time = real
    equal(pauses, [5, 10, 20])
    with open(board.folder + loader.CRASH) as file:
        text = file.read()
    true(text.startswith("3 3\n"), text)
    true("no such pin" in text, text)


def test_a_place_that_does_not_keep_the_record_starts_no_trial():
    # An attempt that is not counted might be made for ever; the confirmed image runs, and the board can be reached.
    board = board_with()
    board.boot(lambda board: loader.run(board, arm))
    kind = type(storage.open_slots(board, board.slots))
    kept = kind.write_record
    kind.write_record = lambda place, copy, data: kept(place, copy, bytes(len(data)))
    try:
        equal(ran(board), ("A", 3, False))
    finally:
        kind.write_record = kept
    equal(ran(board), ("B", 4, True))


def test_a_damaged_slot_is_left_although_the_record_cannot_be_stored():
    board = board_with()
    install(board, OTHER, 4)
    board.damage_slot(1, 1000)
    kind = type(storage.open_slots(board, board.slots))
    kept = kind.write_record

    def fails(place, copy, data):
        raise OSError(5)

    kind.write_record = fails
    try:
        equal(ran(board), ("A", 3, False))
    finally:
        kind.write_record = kept


def test_what_is_read_wrong_once_is_read_again():
    board = board_with()
    kind = type(storage.open_slots(board, board.slots))
    for name, wrong in (("read_record", bytes(300)), ("image", Misread())):
        kept = getattr(kind, name)
        left = [wrong]
        setattr(kind, name, wrong_once(kept, left))
        try:
            equal(ran(board), ("A", 3, False))
        finally:
            setattr(kind, name, kept)
        true(not left, name)


class Misread:
    """An image that was read wrong."""

    def digest(self, feed):
        return bytes(32)

    def close(self):
        pass


def wrong_once(read, left):
    """read, but first what `left` has."""
    return lambda place, which, size: left.pop() if left else read(place, which, size)


class Clock:
    """Stands for the module time: notes every sleep instead of sleeping."""

    def __init__(self, slept):
        self.sleep = slept.append


def test_only_the_image_replaces_built_in_modules():
    """Not a file that lies on the board: the loader knows them before sys.path is searched."""
    folder = scratch.folder()
    path, modules = sys.path[:], dict(sys.modules)
    for name in ("re.py", "json.py", "mine.py"):
        with open(folder + "/" + name, "w") as file:
            file.write("ours = True\n")
    try:
        sys.path.insert(0, folder)
        loader._load_built_in()
        equal(sys.path, [folder] + path)
        import json
        import re

        true(not hasattr(re, "ours") and not hasattr(json, "ours"))
        loader._prefer_files([folder + "/none", folder])
        true("os" in sys.modules and "re" not in sys.modules and "json" not in sys.modules)
        import re

        true(re.ours)
    finally:
        sys.path[:] = path
        for name in ("re", "json"):
            sys.modules.pop(name, None)
        sys.modules.update(modules)
