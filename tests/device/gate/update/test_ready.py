"""An update waits for the application's word that the board may restart: bounded, over resets, and nothing is fetched
or written twice. The real loader and agent on the simulated board.
"""

import sim_gateway
from check import equal, true
from sim_gateway import World, envelope

HEAP = "4m"
SLOTS = ("rom", "file")
TIMEOUT_S = 900

UP_TO_IT = ["offered", "fetching", "applying", "applying"]


class flashed:
    """A world whose board runs release 1 with an application that is ready from `ready_s` of a boot on."""

    def __init__(self, ready_s, wait_s=43200):
        self.world = World()
        self.asked = []
        self.ready_s = ready_s
        self._wait_s = wait_s

    def ready(self):
        self.asked.append(seconds())
        return seconds() >= self.ready_s

    def __enter__(self):
        world = self.world
        world.flash(1)
        config = world.board.folder + "/config.json"
        with open(config) as file:
            text = file.read()
        with open(config, "w") as file:
            file.write(text[:-1] + ', "restart_wait_s": %d}' % self._wait_s)
        world.ready = self.ready
        world.offer = envelope("patch")
        return world

    def __exit__(self, *_):
        self.world.close()


def seconds():
    return sim_gateway._now[0] // 1000


def details(world):
    return [message.get(-260) for topic, message in world.heard if topic == "report"]


def at(world, when_s, what):
    """Calls what() once, when_s into a boot."""

    def every(now):
        if now >= when_s:
            world.every = lambda now: None
            what()

    world.every = every


def waits(topic, message):
    return topic == "report" and message.get(-260) == "waiting for the application"


def test_it_waits_and_then_goes_through():
    app = flashed(3600)
    with app as world:
        world.run(6, 2)
        equal(world.phases(), UP_TO_IT + ["installed", "trial", "confirmed"])
        equal(details(world)[2:5], ["patch", "waiting for the application", None])
        [said] = [message for topic, message in world.heard if waits(topic, message)]
        equal(said[-263], 43200)
        equal([path for path, _ in world.fetches], ["/p/" + PATCH])
        equal(world.boots, [("A", 1, False), ("B", 2, True)])
        true(app.asked[-1] >= 3600 and len(app.asked) > 500, len(app.asked))
        true("restart" not in world.state_names())


def test_one_that_is_ready_waits_for_nothing():
    with flashed(0) as world:
        world.run(6, 2)
        equal(world.phases(), ["offered", "fetching", "applying", "installed", "trial", "confirmed"])
        equal(details(world)[3], None)


def test_after_the_time_it_restarts_all_the_same_and_says_so():
    for wait_s in (600, 0):
        with flashed(1 << 30, wait_s) as world:
            said = world.run(4, 2)
            found = said[-260].split()
            true(wait_s <= int(found[6]) < wait_s + 30, said[-260])
            equal(said[-260], "the application was not ready for %s s; restarted all the same" % found[6])
            world.run(6, 2)


def test_a_release_may_say_that_it_waits_no_longer():
    for wait_s, most in ((43200, 600), (300, 300)):
        with flashed(1 << 30, wait_s) as world:
            world.offer = envelope("within-600-s")
            found = world.run(4, 2)[-260].split()
            true(most <= int(found[6]) < most + 30, found)


def test_one_that_raises_is_not_ready():
    with flashed(0, 300) as world:
        world.ready = lambda: 1 // 0
        true("was not ready for 30" in world.run(4, 2)[-260])


def test_a_reset_meanwhile_fetches_and_writes_nothing_again():
    """And the time goes on: 15 minutes are lost at most."""
    with flashed(1 << 30, 7200) as world:
        world.run(wanted=waits)
        for _ in range(2):
            world.idle(3000)
        world.run(4, 2)
        true(seconds() < 3100, seconds())  # of 7200, in the fourth boot
        equal(len(world.boots), 4)
        equal(len(world.fetches), 1)
        equal(world.phases().count("applying"), 2)


def test_a_slot_that_was_damaged_meanwhile_is_written_anew():
    app = flashed(1 << 30)
    with app as world:
        world.run(wanted=waits)
        world.damage_slot("B", 1000)
        app.ready_s = 0
        world.run(6, 2)
        equal(world.boots[-1], ("B", 2, True))


def test_what_is_withdrawn_meanwhile_is_not_tried():
    with flashed(5000) as world:
        at(world, 1000, lambda: offer(world, b""))
        world.idle(9000)
        equal(world.phases(), UP_TO_IT)
        equal(world.boots, [("A", 1, False)])


def test_a_newer_offer_takes_its_place():
    with flashed(5000) as world:
        at(world, 1000, lambda: offer(world, envelope("third-patch")))
        world.run(6, 4)
        equal(world.phases(), UP_TO_IT * 2 + ["installed", "trial", "confirmed"])


def test_an_offer_of_a_stranger_does_not_end_the_wait():
    app = flashed(5000)
    with app as world:
        at(world, 1000, lambda: world.link.deliver(envelope("stranger")))
        world.run(6, 2)
        equal(world.phases(), UP_TO_IT + ["refused", "installed", "trial", "confirmed"])
        true(app.asked[-1] >= 5000)


def test_of_the_update_nothing_is_in_ram_while_it_waits():
    with flashed(1 << 30) as world:
        users = []
        at(world, 2000, lambda: users.append(sim_gateway.ondemand.modules._users))
        world.idle(4000)
        equal(users, [0])


def offer(world, data):
    world.offer = data
    world.link.deliver(data)


PATCH = "fe00d9f63252700bf96381b24e0b6731db95cadb2417b347ec70b823d0728444"
