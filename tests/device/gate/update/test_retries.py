"""What failed for a reason outside of the board or of the image is tried again, for as long as the offer stands."""

import check  # noqa: I001 - sim_gateway replaces the clock before the agent is imported
from check import equal, true
from sim_gateway import World, envelope  # first: it replaces the clock

from gate import clock
from gate.update import retry
from http_client.header import HttpError

HEAP = "4m"
SLOTS = ("rom", "file")
TIMEOUT_S = 900
DAY_S = 86400
PAYLOADS = ("patch", "image")


class flashed:
    """A world whose board runs release 1 and is offered `offer`."""

    def __init__(self, offer="patch"):
        self._offer = offer

    def __enter__(self):
        self.world = World()
        self.world.flash(1)
        self.world.offer = envelope(self._offer)
        return self.world

    def __exit__(self, *_):
        self.world.close()


def failures(world):
    """(phase, code, seconds until the next attempt or None) of each report that something failed."""
    found = []
    for topic, message in world.heard:
        if topic == "report" and message[4] is not True:
            found.append((message[-258], message[4][5], message.get(-263)))
    return found


def running(world):
    status = world.slots()
    return status["slots"][status["running"]]["sequence"]


def spoil(world, how):
    right = dict(world.payloads)
    for path, data in right.items():
        if how == "missing":
            del world.payloads[path]
        elif how == "one bit":
            changed = bytearray(data)
            changed[len(data) // 2] ^= 1
            world.payloads[path] = bytes(changed)
        elif how == "short":
            world.payloads[path] = data[:-1]
        else:
            world.payloads[path] = data + b"x"
    return right


def test_a_wrong_payload_is_fetched_again_once_the_server_is_right():
    for how, code in (("missing", 10), ("one bit", 11), ("short", 11), ("long", 11)):
        for name in PAYLOADS:
            with flashed(name) as world:
                right = spoil(world, how)
                world.run(9)
                found = failures(world)
                equal(found[0][:2], (9, code), how)
                true(40 <= found[0][2] <= 80, found)
                for path, data in right.items():
                    world.payloads[path] = data
                world.run(6, 2)
                equal(running(world), 2, how)


class Remembered:
    """SmallFiles of one file, and how often it was written."""

    def __init__(self):
        self.value, self.writes = None, 0

    def load(self, name):
        return self.value

    def store(self, name, value):
        self.value, self.writes = list(value), self.writes + 1


def test_pauses_grow_to_a_bound_and_the_reason_is_reported_once_a_day():
    for code, most in ((10, 3600), (11, 14400), (14, 300), (15, DAY_S)):
        state, random = Remembered(), check.Random(code)
        known = retry.load(state, "retry", b"d")
        passed, told, pauses = 0, [], []
        while passed < 10 * DAY_S:
            pause, tell = retry.failed(state, "retry", known, code, random.data)
            if tell:
                told.append(passed)
            pauses.append(pause)
            passed += pause
        equal(told[0], 0)
        true(6 <= len(told) <= 11, told)
        true(45 <= pauses[0] <= 75 and most * 0.75 <= max(pauses) <= most * 1.25, pauses)
        true(len(set(pauses)) > 5, "they are not all alike")
        true(state.writes <= 25, "%d writes of %d attempts" % (state.writes, len(pauses)))


def test_pauses_between_trials_grow_to_hours_and_to_a_week_if_only_the_new_image_had_no_broker():
    for at_once, most in ((False, 21600), (True, 604800)):
        state, random = Remembered(), check.Random(9)
        pauses = []
        for _ in range(20):
            said = retry.trial_ended(state, "retry", b"d")
            known = retry.load(state, "retry", b"d")
            pauses.append(retry.wait(state, "retry", known, at_once, random.data))
            true(not pauses[-1] or said <= 2 * pauses[-1])
            half = retry.wait(state, "retry", retry.load(state, "retry", b"d"), True, random.data)
            equal(half, pauses[-1] // 2, "after a reset")
            retry.waited(state, "retry", known)
            equal(retry.wait(state, "retry", retry.load(state, "retry", b"d"), True, random.data), 0)
        true(225 <= pauses[0] <= 375 and most * 0.75 <= pauses[-1] <= most * 1.25, pauses)


def test_what_is_remembered_is_of_one_image_and_checked():
    state = Remembered()
    for wrong in (
        None,
        1,
        [],
        [b"d"],
        [b"e", 1, 1, 1, 1, 1, 1],
        [b"d", 1, 1, 1, 1, 1, "x"],
        [b"d", 1, 1, 1, 1, True, 1],
    ):
        state.value = wrong
        equal(retry.load(state, "retry", b"d"), [b"d", 0, 0, 0, 0, 0, 0])


def test_the_reason_is_reported_once():
    with flashed() as world:
        spoil(world, "missing")
        world.idle(DAY_S // 3)
        found = failures(world)
        equal(len(found), 1)
        equal(world.phases(), ["offered", "fetching", "failed"])
        true(8 < len(world.fetches) < 60, len(world.fetches))


def test_another_reason_is_reported_at_once():
    with flashed() as world:
        right = spoil(world, "missing")
        world.run(9)
        for path, data in right.items():
            world.payloads[path] = data + b"x"
        world.run(9)
        equal([code for _, code, _ in failures(world)], [10, 11])
        world.idle(DAY_S // 6)
        equal(len(failures(world)), 2)


def test_two_images_that_are_offered_in_turn_have_the_pauses_of_one():
    state, random = Remembered(), check.Random(7)
    pauses = []
    for number in range(12):
        known = retry.load(state, "retry", b"de"[number % 2 : number % 2 + 1])
        pauses.append(retry.failed(state, "retry", known, 11, random.data)[0])
    true(pauses[0] <= 75 < pauses[1] < pauses[2], pauses)
    true(min(pauses[5:]) >= 720, pauses)
    true(max(pauses) <= 1200, "a genuine one that follows does not wait for hours: %r" % pauses)


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks():
    for asked, least, most in ((5, 5, 30), (120, 120, 200), (9_999_999, 3600, 4600)):
        with flashed() as world:
            began = []

            def busy(asked=asked, began=began):
                began.append(clock.ticks_ms() // 1000)
                if len(began) == 1:
                    raise HttpError(503, "busy", asked)

            world.on_get = busy
            world.run(6, 2)
            true(least <= began[1] - began[0] <= most, began)


def test_a_payload_that_cannot_be_fetched_is_told_within_a_minute():
    """A redirect, 403, no length, TLS, DNS: whatever it is, its text is in the report."""
    with flashed() as world:
        world.losses = [0] * 1000
        message = world.run(9)
        equal(message[4], {5: 14, 7: 11})
        true("connection lost" in message[-260], message[-260])
        equal(len(world.fetches), 4)
        world.losses = []
        world.run(6, 2)


def test_a_server_that_brings_a_byte_at_a_time_is_told_too():
    with flashed("image") as world:
        world.losses = [300] * 1000
        world.run(9)
        true(len(world.fetches) <= 8, world.fetches)


def test_pauses_go_on_growing_over_resets():
    with flashed() as world:
        spoil(world, "missing")
        counts = []
        for _ in range(6):
            before = len(world.fetches)
            world.idle(900)
            counts.append(len(world.fetches) - before)
        true(counts[0] >= 3 and counts[-1] == 1, counts)
        equal(len(failures(world)), 1, "reports of a day")


def test_after_weeks_off_only_what_still_stands_is_tried():
    with flashed() as world:
        right = spoil(world, "missing")
        world.run(9)
        world.payloads = right
        before = len(world.fetches)
        world.offer = None
        world.idle(DAY_S // 12)
        equal(len(world.fetches), before, "nothing is offered any more")
        world.offer = envelope("patch")
        world.run(6, 2)


def test_an_offer_that_is_withdrawn_in_its_pause_is_forgotten():
    with flashed() as world:
        right = spoil(world, "missing")

        def withdrawn(topic, message):
            if topic == "report" and message[-258] == 9:
                world.offer = None
                world.payloads = right
                world.link.deliver(b"")
            return False

        world._wanted = withdrawn
        while world.boot(3600 * 1000) != "stopped":
            pass
        equal(running(world), 1)
        true("offer.suit" not in world.state_names(), world.state_names())


def test_an_offer_that_the_new_connection_does_not_bring_is_not_tried():
    with flashed() as world:
        right = spoil(world, "missing")

        def reconnected(topic, message):
            if topic == "report" and message[-258] == 9:
                world.payloads = right
                world.link.sessions += 1
            return False

        world._wanted = reconnected
        world.boot(3600 * 1000)
        equal(running(world), 1)
        equal(len(world.fetches), 1)


def test_the_same_offer_again_does_not_end_the_pause():
    with flashed() as world:
        spoil(world, "missing")

        def repeats(topic, message):
            # As a server does that answers each birth with its newest offer.
            if topic == "birth":
                world.link.deliver(world.offer)
            return False

        world._wanted = repeats
        world.boot(3600 * 1000)
        true(len(world.fetches) < 10, len(world.fetches))


def test_what_anybody_sends_does_not_end_a_pause():
    """Junk, forgeries and withdrawals in turn, every 20 s: the pauses grow as without them."""
    for other in (b"junk", "stranger", b""):
        with flashed() as world:
            spoil(world, "one bit")
            sent = [0]

            def poll(seconds, world=world, other=other, sent=sent):
                if seconds >= sent[0] + 20 and world.link and world.link.announced:
                    sent[0] = seconds
                    world.link.deliver(other if isinstance(other, bytes) else envelope(other))
                    world.link.deliver(world.offer)

            world.every = poll
            world.idle(1500)
            # Twice at each attempt, after pauses from a minute on that double.
            true(4 <= len(world.fetches) <= 14, "%r: %d" % (other, len(world.fetches)))


def test_an_offer_is_not_displaced_by_what_comes_right_after_it():
    for other in (b"junk", "stranger"):
        with flashed() as world:
            other = other if isinstance(other, bytes) else envelope(other)
            world.after_offer = [other, other]
            world.run(6, 2)
            equal(len(world.boots), 2)


def test_another_offer_takes_the_place_of_one_that_waits():
    with flashed("image") as world:
        right = spoil(world, "missing")

        def replaced(topic, message):
            if topic == "report" and message[-258] == 9 and message[-259] == 2:
                world.offer = envelope("third-patch")
                world.payloads = right
                world.link.deliver(world.offer)
            return topic == "report" and message[-258] == 6 and message[-259] == 4

        world.run(wanted=replaced)
        equal(running(world), 4)


def test_a_full_file_system_is_tried_again():
    with flashed("image") as world:
        sizes = [1 << 30, 0]

        def statvfs(path):
            return (4096, 4096, 100, sizes[-1], 0, 0, 0, 0, 0, 255)

        from gate.update import download

        class Os:
            pass

        fake = Os()
        fake.statvfs = statvfs
        real, download.os = download.os, fake
        try:
            world.run(9)
            equal(failures(world)[0][:2], (9, 9))
            sizes.pop()
            world.run(6, 2)
        finally:
            download.os = real


# ---------------------------------------------------------------- trials


def away_in_trials(world, trials=1 << 30):
    """The broker is away exactly while one of the first `trials` trials runs."""
    counted = [0]

    def on_boot(boot):
        if boot.trial and len(world.boots) > 1 and not world.boots[-2][2]:
            counted[0] += 1
        world.go(not boot.trial or counted[0] > trials)

    world.on_boot = on_boot
    return counted


def test_a_broker_that_is_away_bans_no_image():
    with flashed() as world:
        away_in_trials(world, 1)
        message = world.run(7, 2)
        equal(message[4], {5: 35, 7: 11})
        true(200 <= message[-263] <= 400, message)
        equal(world.slots()["bad"], [])
        world.run(6, 2)
        equal(running(world), 2)
        trials = [trial for _, _, trial in world.boots]
        equal(trials, [False, True, True, True, False, False, True])
        true("retry" not in world.state_names())


def test_many_outages_ban_no_image():
    with flashed() as world:
        away_in_trials(world, 5)
        world.run(6, 2, boots=200)
        equal(running(world), 2)


def test_an_image_that_alone_finds_no_broker_is_tried_seldom():
    """The old image reaches it at once after each trial."""
    with flashed() as world:
        away_in_trials(world)
        world.idle(DAY_S // 3)
        pauses = [again for phase, _, again in failures(world) if phase == 7]
        true(all(pauses) and pauses[0] == 300 and len(pauses) >= 5, pauses)
        equal(world.slots()["bad"], [])
        said = [message[-260] for topic, message in world.heard if topic == "report" and message[-258] == 7]
        true("the old one after it has" in said[-1], said)
        world.on_boot = None
        world.go(True)
        world.idle(DAY_S // 4)
        equal(running(world), 2)


def test_a_reset_while_it_waits_halves_the_pause():
    """So that no rhythm of resets makes it endless."""
    with flashed() as world:
        away_in_trials(world, 1)
        world.run(7, 2)
        world._wanted = None
        for _ in range(12):
            world.boot(60 * 1000)
            if running(world) == 2:
                break
        else:
            raise AssertionError("never tried again: %s" % world.phases())


def test_an_image_that_hangs_is_banned_though_the_broker_is_away_now_and_then():
    with flashed() as world:
        trials = [0]

        def hangs(boot):
            trials[0] += 1
            if trials[0] == 2:
                boot.fail_attempt(boot.AWAY)
                boot.reset()
            boot.board.hang()

        world.behave[2] = hangs
        message = world.run(7, 2)
        equal(message[4], {5: 33, 7: 11})
        true(-263 not in message, message)
        equal(len(world.slots()["bad"]), 1)
        equal(trials[0], 4)


def test_an_image_that_raises_or_is_unhealthy_is_banned():
    def broken(boot):
        raise ValueError("no such sensor")

    for behave in (broken, None):
        with flashed() as world:
            if behave:
                world.behave[2] = behave
            else:
                world.health = lambda world=world: world.boots[-1][1] == 1
            message = world.run(7, 2)
            true(-263 not in message, message)
            equal(len(world.slots()["bad"]), 1)
            world.idle(DAY_S // 12)
            equal(running(world), 1)
            equal(sum(1 for _, _, trial in world.boots if trial), 3)


def test_unhealthy_for_a_moment_without_a_lasting_connection_is_no_verdict():
    with flashed() as world:
        world.health = lambda: False
        asked = [0]

        async def round_trip():
            from gate import LinkError

            asked[0] += 1
            if asked[0] % 60 > 3:
                raise LinkError("no answer")

        def on_boot(boot):
            if boot.trial:
                import sim_gateway

                sim_gateway._Link.round_trip, kept[0] = _as_method(round_trip), sim_gateway._Link.round_trip

        import sim_gateway

        kept = [sim_gateway._Link.round_trip]
        real = kept[0]
        world.on_boot = on_boot
        try:
            message = world.run(7, 2)
        finally:
            sim_gateway._Link.round_trip = real
        true("no lasting connection" in message[-260], message[-260])
        equal(world.slots()["bad"], [])


def _as_method(function):
    async def method(self):
        await function()

    return method


def test_a_slot_that_lost_bits_before_its_trial_bans_no_image():
    with flashed() as world:
        seen = []

        def installed(topic, message):
            if topic == "report" and message[-258] == 4 and not seen:
                seen.append(True)
            return False

        world._wanted = installed
        world.boot()
        true(seen)
        world.damage_slot("B", 700)
        message = world.run(7, 2)
        equal(message[4], {5: 38, 7: 11})
        true(message[-263] > 0, message)
        world.run(6, 2)
        equal(running(world), 2)


def test_an_old_loader_bans_and_says_so():
    """It has neither AWAY nor patience."""
    from boot import api, changes

    away = api.Boot.AWAY
    arm = changes.Changes.arm_trial
    del api.Boot.AWAY
    changes.Changes.arm_trial = lambda self, size, digest, sequence, manifest=None: arm(
        self, size, digest, sequence, manifest
    )
    try:
        with flashed() as world:
            away_in_trials(world, 1)
            message = world.run(7, 2)
            equal(message[4], {5: 35, 7: 11})
            true("flash" in message[-260] and -263 not in message, message)
            equal(len(world.slots()["bad"]), 1)
    finally:
        api.Boot.AWAY = away
        changes.Changes.arm_trial = arm


def test_an_old_agent_on_this_loader_keeps_its_bans():
    """It would begin the same trial again at once, without a pause."""
    from boot import changes

    arm = changes.Changes.arm_trial
    changes.Changes.arm_trial = lambda self, size, digest, sequence, manifest=None, patient=False: arm(
        self, size, digest, sequence, manifest
    )
    try:
        with flashed() as world:
            away_in_trials(world, 1)
            world.run(7, 2)
            equal(len(world.slots()["bad"]), 1)
    finally:
        changes.Changes.arm_trial = arm


def test_a_ban_is_lifted_by_what_the_command_calls():
    with flashed() as world:
        world.behave[2] = lambda boot: boot.board.hang()
        world.run(7, 2)
        equal(len(world.slots()["bad"]), 1)
        counts = []
        world.on_boot = lambda boot: counts.append(boot.forgive())
        world.behave = {}
        world.run(6, 2)
        equal(counts[0], 1)
        equal(running(world), 2)
