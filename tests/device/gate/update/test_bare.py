"""An update for which there is no memory beside the application is brought by a start without it: once, bounded, and
only where the application lets it. The real loader and agent on the simulated board; memory alone is pretended.
"""

import sys

import sim_gateway
from boot import loader
from boot.api import Boot
from check import equal, true
from gate import bare
from gate.files import SmallFiles
from gate.update import ASKED, LACKING, OFFER, retry, verified
from gate.update import cramped as cramped_rules
from gate.update.failures import MEMORY
from gate.update.install import Install
from sim_gateway import World, envelope
from test_ready import at

HEAP = "4m"
SLOTS = ("rom", "file")
TIMEOUT_S = 900
HOUR_S = 3600


class cramped:
    """A world whose board runs release 1, and lacks memory for a step of an update; step: "write", "verify", "code"
    where it is not even there for the modules, or "none"; always: also without the application.
    """

    def __init__(self, step="write", always=False, ready=None):
        self._step = step
        self._always = always
        self._ready = ready

    def __enter__(self):
        world = self.world = World()
        world.flash(1)
        world.offer = envelope("patch")
        world.ready = self._ready
        self._write, self._outcome = Install._write_slot, verified.outcome
        if self._step == "write":
            Install._write_slot = lambda *given: self._lack() or self._write(*given)
        elif self._step != "none":
            verified.outcome = lambda *given: self._no_memory() or self._outcome(*given)
        return world

    def __exit__(self, *_):
        Install._write_slot, verified.outcome = self._write, self._outcome
        self.world.close()

    def _lacks(self):
        return self._always or len(self.world.boots) in self.world.applications

    def _lack(self):
        if self._lacks():
            raise MemoryError("memory allocation failed, allocating 1680 bytes")

    def _no_memory(self):
        """As verified.outcome hands it on."""
        error = MemoryError("memory allocation failed, allocating 9584 bytes")
        if self._lacks() and self._step == "code":
            raise error
        return error if self._lacks() else None


def said(world):
    """(phase, code of a failure or None, detail) of each report, in order."""
    return [
        (sim_gateway.PHASES[message[-258]], None if message[4] is True else message[4][5], message.get(-260))
        for topic, message in world.heard
        if topic == "report"
    ]


def bare_boots(world):
    """Numbers of the boots, from 1, in which neither the application ran nor an image was on trial."""
    return [
        number for number, (_, _, trial) in enumerate(world.boots, 1) if not trial and number not in world.applications
    ]


def offer_again(world, every_s=1800):
    """As the server does at each birth."""

    def every(now):
        if now % every_s == 0 and world.offer:
            world.link.deliver(world.offer)

    world.every = every


def test_it_is_brought_without_the_application():
    with cramped() as world:
        world.run(6, 2)
        equal(bare_boots(world), [2])
        equal(world.boots, [("A", 1, False), ("A", 1, False), ("B", 2, True)])
        told = said(world)
        equal([entry[0] for entry in told if entry[1]], ["failed"])
        equal(told[[entry[0] for entry in told].index("failed")][1], MEMORY)
        true(("installed", None, bare.REMARK) in told, told)
        equal(len([one for one in told if one[0] == "installed"]), 1)
        equal([path for path, _ in world.fetches], [world.fetches[0][0]] * len(world.fetches))
        # What was fetched beside the application is not fetched again.
        equal(len(world.fetches), 1)


def test_one_attempt_in_place_comes_first():
    with cramped() as world:
        lacked = []
        write = Install._write_slot
        Install._write_slot = lambda *given: lacked.append(len(world.boots)) or write(*given)
        world.run(6, 2)
        equal(lacked, [1, 1, 2])


def test_where_that_lacks_memory_too_the_application_comes_back():
    for step in ("write", "verify", "code"):
        with cramped(step, always=True) as world:
            offer_again(world)
            lasted = []
            for _ in range(8):
                world.boot(30 * HOUR_S * 1000)
                lasted.append(sim_gateway._now[0] // 1000)
            equal(bare_boots(world), [2, 4, 6, 8], step)
            equal({slot for slot, _, _ in world.boots}, {"A"})
            true(max(lasted[1::2]) < 200, lasted)  # without the application
            # With it, longer each time.
            for count in range(4):
                least = max(60 << 2 * count, 0 if step == "write" else HOUR_S)
                true(least <= lasted[2 * count] <= max(2 * HOUR_S, 30 * least), (step, lasted))


def test_offers_in_turn_have_no_more_of_them_than_one():
    """Two releases that were really signed, replayed one after the other."""
    with cramped(always=True) as world:
        offers = [envelope("patch"), envelope("image")]
        took = 0
        for turn in range(8):
            world.offer = offers[turn // 2 % 2]
            world.boot(30 * 60 * 1000)
            took += sim_gateway._now[0] // 1000
        true(1 <= len(bare_boots(world)) <= 3, (world.boots, took))


def test_an_application_that_is_not_ready_is_not_ended():
    ready = [False]
    with cramped(ready=lambda: ready[0]) as world:
        world.idle(3 * HOUR_S)
        equal(bare_boots(world), [])

        def later(now):
            ready[0] = now > 600

        world.every = later
        world.run(6, 2)
        equal(len(bare_boots(world)), 1)


def test_a_loader_from_before_it_goes_on_trying():
    bare_file, application = Boot.BARE, loader.application
    del Boot.BARE
    loader.application = lambda boot: sys.modules["app"].start
    try:
        with cramped() as world:
            world.idle(3 * HOUR_S)
            equal(len(world.boots), 1)
            true(world.fetches)
    finally:
        Boot.BARE, loader.application = bare_file, application


def test_an_offer_that_cannot_be_verified_has_one_seldom():
    with cramped("verify") as world:
        offer_again(world)
        world.idle(HOUR_S)
        equal(len(world.boots), 1)
        equal([one[:2] for one in said(world)], [("failed", MEMORY)])
        world.idle(3 * HOUR_S)
        equal(world.boots[-1], ("B", 2, True))  # its trial, which was confirmed
        equal(len(bare_boots(world)), 1)


def test_an_offer_nobody_signed_costs_a_start_an_hour_and_is_gone():
    with cramped("verify") as world:
        forged = bytearray(world.offer)
        forged[-1] ^= 1
        world.offer = bytes(forged)
        offer_again(world)
        for most_s in (7 * HOUR_S, 100, HOUR_S):
            world.boot(most_s * 1000)
        equal(bare_boots(world), [2])
        true(OFFER not in world.state_names() and LACKING not in world.state_names())
        equal({sequence for _, sequence, _ in world.boots}, {1})


def test_a_server_that_is_away_gives_the_application_back():
    with cramped() as world:

        def away():
            world.online = len(world.boots) in world.applications

        world.on_get = away
        world.losses = [10, 10, 10]
        world.run(9, 2)
        equal(world.boots[-1][0], "A")


def test_a_withdrawn_offer_ends_it_at_once():
    with cramped() as world:

        def withdraw(boot):
            if len(world.boots) == 2:
                import os

                os.remove(world.board.folder + "/state/" + OFFER)
                world.offer = None

        world.on_boot = withdraw
        world.idle(HOUR_S)
        equal(bare_boots(world), [2])
        equal(len(world.boots), 3)
        equal(world.boots[-1], ("A", 1, False))


def test_power_is_cut_at_every_operation_of_it():
    with cramped() as world:
        at = []

        def note(boot):
            at.append(world.board.operations)

        world.on_boot = note
        start = world.snapshot()
        world.run(6, 2)
        first, last = at[1], at[2]
        true(last > first)
        step = max(1, (last - first) // 40)
        for point in range(first, last + 1, step):
            world.restore(start)
            at.clear()
            world.board.cut_at(point)
            world.run(6, 2)
            true(len(bare_boots(world)) <= 2, point)


def test_a_trial_is_never_bare():
    with cramped() as world:

        def also(boot):
            if boot.trial:
                with open(world.board.folder + "/state/bare", "wb"):
                    pass

        world.on_boot = also
        world.run(6, 2)
        equal(bare_boots(world), [2])
        world.idle(60)
        true("bare" not in world.state_names() and ASKED not in world.state_names())
        true(retry.FILE not in world.state_names())


def test_the_offer_of_the_image_that_runs_costs_no_start():
    """It stays at the broker, and on a board that lacks memory each attempt to verify it fails."""
    with cramped("verify") as world:
        offer_again(world)
        for _ in range(3):
            world.boot(7 * HOUR_S * 1000)
        equal(world.boots[-1], ("B", 2, True))
        before = len(bare_boots(world))
        world.boot(40 * HOUR_S * 1000)
        world.boot(40 * HOUR_S * 1000)
        equal(len(bare_boots(world)), before)


def forged(data):
    return data[:-1] + bytes((data[-1] ^ 1,))


def test_an_unsigned_offer_costs_an_accepted_one_nothing():
    """Neither its envelope nor what was fetched of it."""
    with cramped("none") as world:
        genuine = world.offer = envelope("image")
        world.losses = [100] * 1000
        found = []

        def look(boot):
            state = SmallFiles(world.board.folder + "/state")
            found.append((state.read(OFFER), [name for name in state.names() if name.startswith("payload-")]))
            if len(found) == 2:
                state.write(LACKING, forged(genuine))
                state.write(boot.BARE, b"")

        world.on_boot = look
        world.boot(30 * 1000)
        world.boot(30 * 1000)
        equal(bare_boots(world), [2])
        world.losses = []
        world.run(6, 2)
        equal(found[1], found[2])
        equal((found[1][0], len(found[1][1])), (genuine, 1))
        equal([one[0] for one in said(world) if one[0] in ("refused", "confirmed")], ["refused", "confirmed"])
        true(LACKING not in world.state_names())


def test_an_unsigned_offer_is_stored_beside_an_accepted_one():
    with cramped("none") as world:
        found = []

        def store(boot):
            state = SmallFiles(world.board.folder + "/state")
            accepted = world.offer
            state.write(OFFER, accepted)
            for data in (forged(accepted), accepted):
                cramped_rules.store(state, data, False, 10 * HOUR_S)
                found.append((state.read(OFFER), state.read(LACKING)))

        world.on_boot = store
        world.boot(1000)
        equal(found, [(world.offer, forged(world.offer)), (world.offer, None)])


def test_an_older_offer_is_not_lost_behind_one_that_lacked_memory():
    with cramped("none") as world:
        world.after_offer = [forged(world.offer)]  # the newest, so it is looked at first
        usual, asked = verified.outcome, []

        def outcome(data, device):
            asked.append(data)
            return MemoryError("for once") if len(asked) == 1 else usual(data, device)

        verified.outcome = outcome
        try:
            world.run(6, 2)
        finally:
            verified.outcome = usual
        equal(asked[0], world.after_offer[0])
        equal(bare_boots(world), [])


def test_a_withdrawn_offer_leaves_no_wait_to_the_next():
    """An application that is never ready has its whole time for the next release, too."""
    with cramped(ready=lambda: False) as world:
        began = []

        def withdraw():
            began.append("restart" in world.state_names())
            world.link.deliver(b"")

        at(world, 2 * HOUR_S, withdraw)
        world.boot(3 * HOUR_S * 1000)
        equal(began, [True])
        equal(bare_boots(world), [])
        true("restart" not in world.state_names(), world.state_names())


def test_a_release_that_failed_its_trial_has_one_more_start_at_most():
    with cramped("verify") as world:

        def broken(boot):
            raise ValueError("no such sensor")

        world.behave = {2: broken}
        offer_again(world)
        for _ in range(12):
            world.boot(60 * HOUR_S * 1000)
        true(1 <= len(bare_boots(world)) <= 2, world.boots)
        told = [message for topic, message in world.heard if topic == "report" and message[-258] == 7]
        true(1 <= len(told) <= 2, told)


def test_a_person_who_wants_it_tried_again_has_one_soon():
    with cramped(always=True) as world:
        for _ in range(6):
            world.boot(30 * HOUR_S * 1000)
        equal(bare_boots(world), [2, 4, 6])

        def retry_it():  # as the command `update retry` does
            world.agent.updater.forget()
            world.agent.updater.again()

        at(world, 400, retry_it)
        world.boot(30 * HOUR_S * 1000)
        true(sim_gateway._now[0] < 2 * HOUR_S * 1000, sim_gateway._now)
