"""The loader that verifies the slot's signed manifest at every boot (boot.json: verify = "signature")."""

import os

import check
from boot import flash, options
from check import equal, raises, true
from sim_gateway import World, envelope

HEAP = "2m"
TIMEOUT_S = 600
SLOTS = ("rom", "file")
SIGNED = '{"verify": "signature"}'
EVERY = 16  # a byte in so many is changed where each boot verifies a signature


class flashed:
    """A world whose board runs release 2 and verifies signatures. manifest: what is flashed with the image."""

    def __init__(self, manifest="patch"):
        self._manifest = envelope(manifest) if manifest else None

    def __enter__(self):
        self._world = World()
        self._world.flash(2, self._manifest, SIGNED)
        return self._world

    def __exit__(self, *_):
        self._world.close()


def ran(world):
    """(slot, sequence) of what one boot runs, or None for safe mode."""
    boots = len(world.boots)
    world.on_boot = lambda boot: world.board.stop()
    try:
        world.boot()
    except AssertionError:  # safe mode
        return None
    finally:
        world.on_boot = None
    return world.boots[boots][:2]


def manifest(world, slot):
    return world.board.folder + "/slots/" + slot.lower() + ".suit"


def rewrite(world, path, data):
    world.board.down = None  # somebody does it who has power
    with open(path, "wb") as file:
        file.write(data)


def test_signed_release_runs_and_updates():
    with flashed() as world:
        equal(ran(world), ("A", 2))
        world.offer = envelope("next-patch")
        world.run(6, 3)
        equal(ran(world), ("B", 3))
        status = world.slots()
        equal((status["verify"], status["kind"]), ("signature", check.settings["slots"]))
        true(status["slots"]["A"]["whole"] and status["slots"]["B"]["whole"])
        with open(manifest(world, "B"), "rb") as file:
            equal(file.read(), envelope("next-patch"))


def test_release_without_a_manifest_does_not_run():
    with flashed(None) as world:
        equal(ran(world), None)
        why = world.slots()["slots"]["A"]["why"]
        true("no signed manifest" in why, why)
        # It is the manifest that lacks, not the image.
        rewrite(world, manifest(world, "A"), envelope("patch"))
        equal(ran(world), ("A", 2))


def test_manifest_of_another_image_does_not_vouch():
    with flashed("next-patch") as world:
        equal(ran(world), None)
        equal(world.slots()["slots"]["A"]["whole"], False)


def test_each_changed_byte_of_the_manifest_is_noticed():
    with flashed() as world:
        good = envelope("patch")
        for at in range(0, len(good), EVERY if check.ground == "cpython" else 4 * EVERY):
            rewrite(world, manifest(world, "A"), good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            equal(world.slots()["slots"]["A"]["whole"], False, "byte %d" % at)
        for size in (0, 1, 100, len(good) - 1):
            rewrite(world, manifest(world, "A"), good[:size])
            equal(world.slots()["slots"]["A"]["whole"], False, "%d bytes" % size)
        rewrite(world, manifest(world, "A"), good + bytes(2048))
        equal(world.slots()["slots"]["A"]["whole"], False, "too long")
        equal(ran(world), None)
        rewrite(world, manifest(world, "A"), good)
        equal(ran(world), ("A", 2))


def test_image_put_there_with_a_right_record_does_not_run():
    """Whoever can write slots and record, but has no key."""
    with flashed() as world:
        evil = bytes(reversed(world.images[2]))
        path = world.board.folder + "/evil"
        rewrite(world, path, evil)
        rewrite(world, world.board.folder + "/evil.suit", envelope("patch"))
        digest = __import__("hashlib").sha256(evil).digest()
        flash.install(world.board, path, digest, 2, world.board.folder + "/evil.suit")
        # The record names it, but the slot whose manifest is right was confirmed once.
        equal(ran(world), ("A", 2))
        equal(world.slots()["reason"], "signature")


def test_right_image_under_another_sequence_does_not_run():
    """A record that lifts an old release above newer ones."""
    with flashed() as world:
        path = world.board.folder + "/image"
        rewrite(world, path, world.images[2])
        rewrite(world, path + ".suit", envelope("patch"))
        digest = __import__("hashlib").sha256(world.images[2]).digest()
        flash.install(world.board, path, digest, 9, path + ".suit")
        equal(ran(world), ("A", 2))


def test_trial_with_a_spoilt_manifest_is_rolled_back():
    with flashed() as world:
        world.offer = envelope("next-patch")
        world.run(4, 3)  # installed
        rewrite(world, manifest(world, "B"), envelope("patch"))
        world.run(7, 3)
        equal(world.slots()["reason"], "signature")
        equal([boot for boot in world.boots if boot[2]], [])
        equal(ran(world), ("A", 2))


def test_running_slot_with_a_spoilt_manifest_falls_back():
    with flashed() as world:
        world.offer = envelope("next-patch")
        world.run(6, 3)
        world.board.down = None
        os.remove(manifest(world, "B"))
        equal(ran(world), ("A", 2))
        status = world.slots()
        equal((status["reason"], status["floor"]), ("signature", 3))


def test_without_the_option_the_digest_is_enough():
    world = World()
    world.flash(2)
    equal(ran(world), ("A", 2))
    world.close()


def test_options_that_cannot_be_understood_are_safe_mode():
    with flashed() as world:
        path = world.board.folder + options.FILE
        for text in (
            "",
            "{",
            "[]",
            '{"verify": "no"}',
            '{"verify": 1}',
            '{"vrify": "signature"}',
            '{"slots": "ram"}',
            "{nonsense}",
        ):
            rewrite(world, path, text.encode())
            equal(ran(world), None, text)
            error = str(raises(Exception, options.read, world.board))
            true("boot.json" in error and "tidegate flash" in error, error)
        rewrite(world, path, b" " * 600 + SIGNED.encode())
        equal(ran(world), None, "too large")
        rewrite(world, path, SIGNED.encode())
        equal(ran(world), ("A", 2))


def test_libraries_of_the_check_do_not_stay():
    """What was imported from the loader's library is forgotten, so that the application imports its own."""
    import sys

    from boot import signature

    class Module:
        __file__ = signature.LIBRARY + "/tidegate/envelope.mpy"

    sys.modules["loader_library"] = Module
    before = set(sys.path)
    raises(signature.SignatureError, signature.check, None, None, b"", b"", None)
    signature._unload()
    true("loader_library" not in sys.modules)
    equal(set(sys.path), before)
