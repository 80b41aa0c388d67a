"""Whole updates on the simulated board: the real loader and agent, the world around them simulated (sim_gateway)."""

import os

import check
from boot import slots
from check import equal, true
from sim_gateway import World, envelope

HEAP = "4m"
SLOTS = ("rom", "file")
TIMEOUT_S = 900


class flashed:
    """A world whose board runs release 1."""

    def __enter__(self):
        self._world = World()
        self._world.flash(1)
        return self._world

    def __exit__(self, *_):
        self._world.close()


def test_patch_to_confirmed():
    with flashed() as world:
        world.offer = envelope("patch")
        world.run(6, 2)
        equal(world.phases(), ["offered", "fetching", "applying", "installed", "trial", "confirmed"])
        equal(world.boots, [("A", 1, False), ("B", 2, True)])
        status = world.slots()
        equal(status["running"], "B")
        equal(status["floor"], 2)
        true(status["slots"]["A"]["whole"])
        true(status["slots"]["B"]["whole"])


def test_what_waits_in_ram_is_kept_before_the_reset_into_a_trial():
    """The log's lines are; telemetry goes the same way."""
    with flashed() as world:
        config = world.board.folder + "/config.json"
        with open(config) as file:
            text = file.read()
        with open(config, "w") as file:
            file.write(text.replace('"log_level": "error"', '"log_level": "info"'))
        world.offer = envelope("patch")
        world.run(6, 2)
        with open(world.board.folder + "/log/new") as file:
            true("restart for its trial" in file.read())


def test_image_when_no_patch_fits():
    with flashed() as world:
        world.offer = envelope("no-patch-fits")
        world.run(6, 4)
        equal([path for path, _ in world.fetches], ["/p/" + digest_of(world, 4)])
        equal(running(world), 4)


def test_three_releases_behind_takes_one_patch():
    """One manifest for all: each device takes the patch from what it runs, in one step."""
    for behind in (3, 2, 1):
        world = World()
        world.flash(4 - behind)
        world.offer = envelope("third-patch")
        world.run(6, 4)
        equal(len(world.fetches), 1)
        equal(running(world), 4)
        true(len(world.payloads[world.fetches[0][0]]) < 500, "a patch")
        world.close()


def test_back_to_an_old_image_under_a_new_number():
    with flashed() as world:
        world.offer = envelope("third-patch")
        world.run(6, 4)
        world.idle()
        world.offer = envelope("back")
        world.run(6, 5)
        world.idle()
        status = world.slots()
        slot = status["slots"][status["running"]]
        equal((slot["sequence"], slot["size"], status["floor"]), (5, len(world.images[1]), 5))
        # The way to what lies between is shut.
        world.offer = envelope("third-patch")
        alarm = world.run(wanted=lambda topic, message: topic == "alarm")
        equal((alarm[1], alarm[2]), ("offer-refused", "older"))


def test_the_running_image_under_a_new_number_is_only_remembered():
    with flashed() as world:
        world.offer = envelope("back")
        world.run(10, 5)
        world.idle()
        equal((world.fetches, world.slots()["floor"], running(world)), ([], 5, 1))
        operations = world.board.operations
        world.idle()
        equal(world.board.operations, operations)
        world.offer = envelope("patch")
        alarm = world.run(wanted=lambda topic, message: topic == "alarm")
        equal((alarm[1], alarm[2]), ("offer-refused", "older"))


def test_patches_one_after_the_other():
    with flashed() as world:
        for name, sequence in (("patch", 2), ("next-patch", 3)):
            world.offer = envelope(name)
            world.run(6, sequence)
        equal([slot for slot, _, trial in world.boots if trial], ["B", "A"])
        equal(running(world), 3)


def test_same_offer_again_is_harmless():
    with flashed() as world:
        world.offer = envelope("patch")
        world.run(6, 2)
        world.run(10, 2)
        fetches, before = len(world.fetches), world.board.operations
        for _ in range(3):
            world.heard = []
            world.run(10, 2)
            equal(world.phases(), ["current"])
        equal(world.board.operations, before)
        equal(len(world.fetches), fetches)


def test_older_and_equal_are_refused():
    with flashed() as world:
        world.offer = envelope("third-patch")
        world.run(6, 4)
        world.idle()
        for name in ("patch", "next-patch"):
            world.offer = envelope(name)
            world.heard = []
            alarm = world.run(wanted=lambda topic, message: topic == "alarm")
            equal((alarm[1], alarm[2]), ("offer-refused", "older"))
            equal(world.phases(), ["refused"])
            equal([message[4] for topic, message in world.heard if topic == "report"], [{5: 6, 7: 10}])
        equal(running(world), 4)


def test_an_image_for_another_firmware_is_tried_once_however_often_it_is_offered():
    """Each attempt writes the slot. A server may offer it again because the birth came before the report."""
    usual = slots.check_firmware

    def refuse(board, head):
        raise slots.FirmwareError("the image is for a MicroPython that holds other modules")

    def while_it_writes():
        slots.check_firmware = refuse

    with flashed() as world:
        try:
            world.offer = envelope("patch")
            world.on_get = while_it_writes
            world.every = lambda seconds: world.link.deliver(world.offer)
            world.idle(60)
        finally:
            slots.check_firmware = usual
        equal([phase for phase in world.phases() if phase == "failed"], ["failed"])
        equal(len(world.fetches), 1)


def test_fetch_resumes_after_lost_connections():
    with flashed() as world:
        world.offer = envelope("image")
        world.losses = [1200, 900, 2100]
        world.run(6, 2)
        offsets = [offset for _, offset in world.fetches]
        equal(offsets, [0, 1200, 2100, 4200])


def test_fetch_resumes_after_a_power_cut():
    with flashed() as world:
        world.offer = envelope("image")
        # The connection goes after 4500 bytes, then the power while the device waits for it.
        world.losses = [4500]
        world.on_get = lambda: world.board.power_off() if len(world.fetches) == 2 else None
        world.run(6, 2)
        offsets = [offset for _, offset in world.fetches]
        equal(offsets[:2], [0, 4500])
        equal(offsets[2], 4500)


def test_server_away_for_hours():
    with flashed() as world:
        world.offer = envelope("patch")
        world.losses = [0] * 20
        world.run(6, 2)
        equal(len(world.fetches), 21)


def test_missing_payload():
    with flashed() as world:
        world.payloads = {}
        world.offer = envelope("patch")
        message = world.run(9)
        equal(message[4], {5: 10, 7: 11})
        equal(message[-257], [0, 7])
        equal(running(world), 1)


def test_payload_that_is_another():
    with flashed() as world:
        path = [path for path in world.payloads if path != "/p/" + digest_of(world, 2)]
        for name in path:
            world.payloads[name] = bytes(len(world.payloads[name]))
        world.offer = envelope("patch")
        message = world.run(9)
        equal(message[4], {5: 11, 7: 10})
        equal(len(world.fetches), 2)
        true(world.slots()["slots"]["A"]["whole"])


def test_payload_of_another_length():
    with flashed() as world:
        path = "/p/" + digest_of(world, 2)
        world.payloads[path] = world.payloads[path][:-1]
        world.offer = envelope("image")
        equal(world.run(9)[4], {5: 11, 7: 10})


def test_hanging_release_is_rolled_back():
    with flashed() as world:
        world.behave[2] = lambda boot: boot.board.hang()
        world.offer = envelope("patch")
        message = world.run(7, 2)
        equal([trial for _, _, trial in world.boots], [False, True, True, True, False])
        equal(message[4], {5: 33, 7: 11})
        equal(message[-257], [0, 8])
        alarm = world.run(wanted=lambda topic, message: topic == "alarm")
        equal((alarm[1], alarm[2]), ("rolled-back", "watchdog"))
        equal(running(world), 1)
        equal(world.slots()["floor"], 1)


def test_raising_release_tells_what_it_raised():
    def broken(boot):
        raise ValueError("no such sensor")

    with flashed() as world:
        world.behave[2] = broken
        world.offer = envelope("patch")
        message = world.run(7, 2)
        equal(message[4], {5: 34, 7: 11})
        equal(message[-260], "ValueError: no such sensor")
        true(99 in message, "manifest digest")


def test_failed_release_is_never_tried_again():
    with flashed() as world:
        world.behave[2] = lambda boot: boot.board.hang()
        world.offer = envelope("patch")
        world.run(7, 2)
        world.idle()
        fetches = len(world.fetches)
        message = world.run(7, 2)
        equal(message[4], {5: 8, 7: 10})
        world.idle()
        world.offer = envelope("image")  # the same image under another manifest
        equal(world.run(7, 2)[4], {5: 8, 7: 10})
        equal(len(world.fetches), fetches)
        world.offer = envelope("third-patch")  # a newer one is welcome
        world.run(6, 4)
        equal(running(world), 4)


def test_unhealthy_release_times_out():
    with flashed() as world:
        world.health = lambda: world.boots[-1][1] == 1
        world.offer = envelope("patch")
        message = world.run(7, 2)
        equal(message[4], {5: 35, 7: 11})
        true("not healthy" in message[-260], message[-260])


def test_release_without_network_times_out_and_goes_back():
    with flashed() as world:
        world.offer = envelope("patch")
        world.on_boot = lambda boot: world.go(online=boot.running.sequence == 1)
        message = world.run(7, 2)
        equal(message[4], {5: 35, 7: 11})
        true("no connection" in message[-260], message[-260])
        # What the trial could not send was kept, and comes before the verdict.
        equal(world.phases()[-4:], ["trial", "trial", "trial", "rolled-back"])


def test_release_that_returns_is_rolled_back():
    with flashed() as world:
        world.behave[2] = lambda boot: None
        world.offer = envelope("patch")
        equal(world.run(7, 2)[4], {5: 37, 7: 11})


def test_console_break_does_not_count():
    def broken_into(boot):
        raise KeyboardInterrupt

    with flashed() as world:
        world.behave[2] = broken_into
        world.offer = envelope("patch")
        for _ in range(8):
            world.boot()
        equal(world.slots()["trial"], "B")
        equal(world.slots()["attempts"], 0)
        world.behave = {}
        world.run(6, 2)


def test_power_cuts_do_not_count_against_a_trial():
    with flashed() as world:
        world.behave[2] = lambda boot: boot.board.power_off()
        world.offer = envelope("patch")
        for _ in range(10):
            world.boot()
        equal(world.slots()["trial"], "B")
        world.behave = {}
        world.run(6, 2)


def test_power_cuts_for_ever_end_a_trial():
    with flashed() as world:
        world.behave[2] = lambda boot: boot.board.power_off()
        world.offer = envelope("patch")
        equal(world.run(7, 2)[4], {5: 39, 7: 11})


def test_damaged_running_slot_falls_back_and_is_mended():
    with flashed() as world:
        world.offer = envelope("patch")
        world.run(6, 2)
        world.idle()
        world.damage_slot("B", 3000)
        world.offer = None
        message = world.run(7, 2)
        equal(message[4], {5: 38, 7: 11})
        equal(running(world), 1)
        equal(world.slots()["floor"], 2)
        world.offer = envelope("patch")
        world.idle()
        equal(world.phases()[-1], "confirmed")
        equal(running(world), 2)


def test_newer_offer_replaces_one_that_waits():
    with flashed() as world:
        world.offer = envelope("patch")
        world.losses = [0] * 3
        world.on_get = lambda: world.link.deliver(envelope("third-patch")) if len(world.fetches) == 2 else None
        world.run(6, 4)
        equal(running(world), 4)


def digest_of(world, number):
    for path, data in world.payloads.items():
        if data == world.images[number]:
            return path[3:]
    raise AssertionError("no image %d" % number)


def running(world):
    """The sequence number that is confirmed; its slot must be whole."""
    status = world.slots()
    slot = status["slots"][status["running"]]
    true(slot["whole"], "running slot whole")
    return slot["sequence"]


def test_refused_offers_change_nothing():
    with flashed() as world:
        world.idle()
        before = world.board.snapshot()
        for entry in check.vectors("wire", most=None):
            if entry["kind"] != "envelope" or "refused" not in entry or entry["running"] != 1:
                continue
            world.offer = bytes.fromhex(entry["data"]) + bytes(entry.get("pad", 0))
            if not world.offer:
                continue  # MQTT's way to withdraw a retained message
            world.heard = []
            alarm = world.run(wanted=lambda topic, message: topic == "alarm")
            equal(alarm[1], "offer-refused", entry["name"])
            equal(world.phases(), ["refused"], entry["name"])
            equal(world.fetches, [], entry["name"])
        equal(world.board.snapshot(), before)
        world.offer = envelope("patch")
        world.run(6, 2)


def test_full_file_system_fails_the_update_and_nothing_else():
    if check.ground == "cpython":
        check.skip("littlefs only: the host's disk is not ours to fill")
    with flashed() as world:
        filler = world.board.folder + "/filler"
        with open(filler, "wb") as file:  # all but a few blocks, which littlefs needs itself
            while os.statvfs(world.board.folder)[3] > 24:
                file.write(bytes(512))
                file.flush()
        world.offer = envelope("patch")
        failure = world.run(9)[4]
        equal(failure, {5: 9, 7: 11})
        equal(running(world), 1)
        world.files.power_on()
        world.board.boot(lambda board: os.remove(filler))
        world.run(6, 2)
