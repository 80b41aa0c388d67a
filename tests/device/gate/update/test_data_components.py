"""Data components on the simulated board: staged, verified, taken or refused by the application, and cut everywhere."""

import json

import check
from check import equal, true
from sim_gateway import World

HEAP = "8m"
TIMEOUT_S = 900
SAMPLE = 12  # cut points tried where trying all takes too long


def envelope(name):
    for entry in check.vectors("wire"):
        if entry.get("name") == name:
            return bytes.fromhex(entry["data"])
    raise AssertionError("no vector " + name)


class application:
    """A world with an application that takes a calibration table with a gain above 0; `table` is what it uses."""

    def __init__(self, offer=None):
        self._offer = offer

    def __enter__(self):
        self.world = World()
        self.world.flash(1)
        self.world.takers = {"calibration": self.take}
        self.shown = []
        self.table = None
        if self._offer:
            self.offer(self._offer)
        return self

    def __exit__(self, *_):
        self.world.close()

    def offer(self, name):
        self.world.data_offers["calibration"] = envelope(name)

    def take(self, path):
        self.shown.append(path)
        self.table = None
        if path is not None:
            with open(path) as file:
                table = json.load(file)
            if table["gain"] <= 0:
                return False
            self.table = table
        return True

    def say(self, phase):
        """Runs until this phase of the component is reported; the report."""
        return self.world.run(
            wanted=lambda topic, message: topic == "report" and message[-258] == phase and -262 in message
        )

    def files(self):
        import os

        return sorted(os.listdir(self.world.board.folder + "/data"))


CURRENT, CONFIRMED, ROLLED_BACK, REFUSED, FAILED = 10, 6, 7, 8, 9


def test_taken_without_a_restart():
    with application("data-2") as app:
        report = app.say(CONFIRMED)
        equal((report[-259], report[-262]), (2, "calibration"))
        equal(app.world.phases(), ["offered", "fetching", "applying", "confirmed"])
        equal(app.table, {"gain": 1.0, "offset": 0.5})
        equal(app.world.boots, [("A", 1, False)])
        equal(len(app.files()), 2)


def test_kept_over_restarts_and_told_in_the_birth():
    with application("data-2") as app:
        app.say(CONFIRMED)
        app.world.idle()
        app.shown.clear()
        app.world.heard = []
        app.world.idle()
        equal(app.table, {"gain": 1.0, "offset": 0.5})
        equal((len(app.shown), len(app.world.fetches)), (1, 1))
        births = [message[12] for topic, message in app.world.heard if topic == "birth"]
        equal(births[0]["calibration"][0], 2)


def test_newer_replaces_older_and_older_is_refused():
    with application("data-2") as app:
        app.say(CONFIRMED)
        app.offer("data-3")
        app.say(CONFIRMED)
        equal(app.table["gain"], 1.1)
        equal(len(app.files()), 2)
        app.world.idle()
        app.offer("data-2")
        equal(app.say(REFUSED)[4], {5: 6, 7: 10})
        equal(app.table["gain"], 1.1)


def test_the_old_content_under_a_new_number_is_the_way_back():
    with application("data-3") as app:
        app.say(CONFIRMED)
        app.offer("data-2-as-5")
        equal(app.say(CONFIRMED)[-259], 5)
        equal(app.table["gain"], 1.0)
        app.world.heard = []
        app.say(CURRENT)
        equal(len(app.world.fetches), 2)


def test_refused_by_the_application():
    """Back to the old content, with a report, and not tried again."""
    with application("data-2") as app:
        app.say(CONFIRMED)
        app.offer("data-4")
        alarm = app.world.run(wanted=lambda topic, message: topic == "alarm")
        equal((alarm[1], alarm[2]), ("data-refused", "rejected"))
        report = [message for topic, message in app.world.heard if topic == "report"][-1]
        equal((report[4], report[-258], report[-259]), ({5: 19, 7: 11}, ROLLED_BACK, 4))
        app.world.idle()
        equal(app.table, {"gain": 1.0, "offset": 0.5})
        shown = len(app.shown)
        equal(app.say(REFUSED)[4], {5: 6, 7: 10})  # its number is used up
        equal(len(app.shown), shown + 1)
        equal(len(app.files()), 2)


def test_refused_without_an_old_one():
    with application("data-4") as app:
        app.say(ROLLED_BACK)
        app.world.idle()
        equal(app.shown[0], None)
        equal(app.shown[2], None)
        equal(app.files(), ["calibration"])


def test_an_application_that_hangs_over_it_is_asked_three_times():
    with application("data-2") as app:
        good = app.take

        def hang(path):
            if path:
                app.shown.append(path)
                app.world.board.hang()

        app.world.takers = {"calibration": hang}
        equal(app.say(ROLLED_BACK)[4], {5: 19, 7: 11})
        equal(len(app.shown), 3)
        app.world.takers = {"calibration": good}
        app.offer("data-3")
        app.say(CONFIRMED)
        equal(app.table["gain"], 1.1)


def test_what_is_no_data_of_ours_is_refused():
    wanted = {"data-other-name": 6, "data-next": 6, "data-patch": 5, "data-elsewhere": 8, "data-nothing": 10}
    for name, reason in wanted.items():
        with application(name) as app:
            report = app.say(REFUSED)
            equal(report[4][7], reason, name)
            equal(app.world.fetches, [])
            equal(app.shown, [None])
    with application() as app:
        app.world.data_offers["calibration"] = envelope("patch")  # an image's manifest
        equal(app.say(REFUSED)[4][7], 6)
        app.world.heard = []
        app.world.data_offers = {}
        app.world.offer = envelope("data-2")  # and the other way round
        app.world.run(8)


def test_lost_connections_and_missing_payloads():
    with application("data-2") as app:
        app.world.losses = [0, 0, 0]
        app.say(CONFIRMED)
        equal(len(app.world.fetches), 4)
    with application("data-2") as app:
        app.world.payloads = {}
        equal(app.say(FAILED)[4], {5: 10, 7: 11})


def test_damaged_content_comes_again():
    with application("data-2") as app:
        app.say(CONFIRMED)
        app.world.idle()
        (name,) = [name for name in app.files() if "." in name]
        app.world.board.down = None  # the file changes with the power on, as age would have it
        with open(app.world.board.folder + "/data/" + name, "wb") as file:
            file.write(b'{"gain": 9.0, "offset": 0.5}')
        app.world.heard = []
        app.say(CONFIRMED)
        equal(app.table["gain"], 1.0)


def test_image_and_data_at_once():
    with application("data-2") as app:
        app.world.offer = envelope("patch")
        app.world.run(6, 2)
        app.world.idle()
        equal(app.table["gain"], 1.0)
        equal(
            [message[-262] for topic, message in app.world.heard if topic == "report" and -262 in message][0],
            "calibration",
        )


def test_every_cut():
    """After each cut the application has the old table or the new one, and in the end the new one."""
    with application("data-2") as app:
        app.say(CONFIRMED)
        app.world.idle()
        start = app.world.snapshot()
        app.offer("data-3")
        app.world.board.log = log = []
        app.world.idle()
        app.world.board.log = None
        total = len(log)
        true(total > 5, "%d operations" % total)
        points = range(1, total + 1)
        if check.ground != "cpython":
            points = range(1, total + 1, max(1, total // SAMPLE))
        for point in points:
            app.world.restore(start)
            app.world.board.cut_at(point)
            for _ in range(10):
                app.world._wanted = None
                end = app.world.boot(1800 * 1000)
                true(app.table and app.table["gain"] in (1.0, 1.1), "a table after a cut at %d" % point)
                if end == "stopped":
                    break
            equal(app.table["gain"], 1.1, "after a cut at %d, %s" % (point, log[point - 1]))
            equal(len(app.files()), 2, "files after a cut at %d" % point)
            phases = app.world.phases()
            true("confirmed" in phases or "current" in phases, "%s after a cut at %d" % (phases, point))
        print("%d of %d operations cut" % (len(points), total))


def test_a_wrong_payload_is_fetched_again_once_the_server_is_right():
    """In the same boot, and after a reset; the reason is reported once."""
    for how in ("missing", "changed"):
        with application("data-2") as app:
            right = dict(app.world.payloads)
            for path, data in right.items():
                if how == "missing":
                    del app.world.payloads[path]
                else:
                    app.world.payloads[path] = data[:-1] + b"?"
            report = app.say(FAILED)
            true(40 <= report[-263] <= 80, report)
            app.world.idle(3600)
            equal(app.world.phases(), ["offered", "fetching", "failed"])
            true(len(app.world.fetches) > 4, app.world.fetches)
            for path, data in right.items():
                app.world.payloads[path] = data
            app.say(CONFIRMED)
            equal(app.table["gain"], 1.0)
            app.world.idle()
            equal(len(app.files()), 2, "nothing is left of the waiting")


def test_junk_takes_no_offers_place():
    """Right after it, while its fetch is interrupted, and in its pause."""
    with application("data-2") as app:
        right = dict(app.world.payloads)
        app.world.payloads.clear()
        sent = [0]

        def junk(seconds):
            if seconds >= sent[0] + 20:
                sent[0] = seconds
                app.world.link.deliver(b"junk", "offer/calibration")
                app.world.link.deliver(app.world.data_offers["calibration"], "offer/calibration")
                app.world.link.deliver(b"junk %d" % seconds, "offer/calibration")

        app.world.every = junk
        app.world.idle(1800)
        true(4 <= len(app.world.fetches) <= 12, len(app.world.fetches))
        app.world.payloads = right
        app.world.losses = [0] * 6
        app.say(CONFIRMED)
        equal(app.table["gain"], 1.0)


def test_withdrawn_while_it_waits():
    with application("data-2") as app:
        right = dict(app.world.payloads)
        app.world.payloads.clear()

        def withdrawn(topic, message):
            if topic == "report" and message[-258] == FAILED:
                app.world.payloads.update(right)
                app.world.link.deliver(b"", "offer/calibration")
            return False

        app.world._wanted = withdrawn
        app.world.boot(3600 * 1000)
        equal((app.table, len(app.world.fetches)), (None, 1))


def test_withdrawn_and_offered_again_its_pause_goes_on():
    with application("data-2") as app:
        right = dict(app.world.payloads)
        app.world.payloads.clear()
        sent = [0]

        def in_turn(seconds):
            if seconds >= sent[0] + 20:
                sent[0] = seconds
                app.world.link.deliver(b"", "offer/calibration")
            elif seconds >= sent[0] + 10:
                app.world.link.deliver(app.world.data_offers["calibration"], "offer/calibration")

        app.world.every = in_turn
        app.world.idle(1800)
        true(4 <= len(app.world.fetches) <= 12, len(app.world.fetches))
        app.world.payloads = right
        app.say(CONFIRMED)
        equal(app.table["gain"], 1.0)


def test_content_that_was_refused_comes_again_when_a_person_wants_it():
    with application("data-2") as app:
        app.say(CONFIRMED)
        app.offer("data-3")
        take = app.world.takers["calibration"]
        app.world.takers["calibration"] = lambda path: take(path) and "data/calibration" in path and len(app.shown) < 3
        app.say(ROLLED_BACK)
        app.world.takers["calibration"] = take
        app.world.idle()
        equal(app.table["gain"], 1.0)

        from gate.files import SmallFiles
        from gate.update.data_component import Component

        folder = app.world.board.folder + "/data"
        app.world.on_boot = lambda boot: Component("calibration", take, SmallFiles(folder), lambda: None).forget()
        app.say(CONFIRMED)
        equal(app.table["gain"], 1.1)
