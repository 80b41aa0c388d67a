"""Floods of offers and trust stores: what is obviously nothing costs no signature, and what is genuine has its turn."""

import asyncio
import gc

import check
from check import Random, equal, true
from fake_device import Signed
from gate.reporting.alarms import Alarms
from gate.supervisor import Beat
from gate.trust import store as trust_store
from gate.trust.intake import Intake
from gate.update.doors import Doors

GROUNDS = ("cpython", "unix", "cortex-m3")
HEAP = "512k"
MOST = 16


class Keys(trust_store.TrustStore):
    """The store of the vectors, which counts the signatures that it verified."""

    verified = 0

    def quorum(self, role, signatures, feed):
        self.verified += 1
        return super().quorum(role, signatures, feed)


class Outbox:
    def __init__(self):
        self.sent = []

    def add(self, topic, payload, keep=True):
        self.sent.append(topic)


class Uptime:
    now = 0

    def seconds(self):
        return self.now


class Hasty(Beat):
    """Sleeps no longer than others need for their turns."""

    async def sleep(self, seconds):
        await asyncio.sleep(0)


class Door:
    """An intake of one kind with its task; `taken` is what went on."""

    def __init__(self, kind):
        setup = next(check.vectors("wire"))
        found = trust_store.parse(bytes.fromhex(setup["trust"]))
        self.keys = Keys(found.version, found.roles, found.revoked)
        self.uptime, self.outbox, self.taken = Uptime(), Outbox(), []
        device = Signed("gate-1", self.keys)
        alarms = Alarms(self.outbox, self.uptime)
        self.doors = Doors()
        self.missed = 0
        self.intake = Intake(kind, device, self.uptime, alarms, self.taken.append, MOST, None, self.miss)
        self.push = self.doors.add(self.intake)

    def miss(self):
        self.missed += 1

    def work(self, turns=400, beat=None):
        async def main():
            task = asyncio.create_task(self.doors.run(beat or Beat("doors", 180)))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            task.cancel()

        asyncio.run(main())

    def begin(self):
        for number in range(MOST):
            self.push(b"junk %d" % number)
        true(self.intake.flood is not None, "a flood has begun")
        equal(len(self.taken), MOST, "as long as all is calm everything goes on")
        del self.taken[:]


def envelope(name="third-patch"):
    return next(bytes.fromhex(entry["data"]) for entry in check.vectors("wire") if entry.get("name") == name)


def test_all_goes_on_while_it_is_calm():
    door = Door("offer")
    for minute in range(10):
        door.uptime.now = 61 * minute
        for _ in range(MOST - 1):
            door.push(memoryview(b"anything"))
        door.intake.poll()
    equal(len(door.taken), 10 * (MOST - 1))
    equal(door.intake.flood, None)
    equal(door.outbox.sent, [])


def test_junk_costs_no_signature():
    for kind in ("offer", "offer/calibration", "trust"):
        door = Door(kind)
        door.begin()
        chance = Random(5)
        for head in (b"", b"\xd8\x6b", b"\xd8\x6b\xa2\x02", b"\xd8\x62", b"\xd2\x84", b"\xd8\x6b\xa2\x02\x58\x40"):
            for size in (0, 1, 63, 70, 300, 2100):
                door.push(head + chance.data(size))
        door.work(20)
        equal((door.keys.verified, door.taken), (0, []), kind)


def test_an_envelope_that_is_not_whole_costs_no_signature():
    door = Door("offer")
    door.begin()
    good = envelope()
    at = good.find(b"\x58\x40") + 2  # its signature
    for place in range(len(good)):
        if not at <= place < at + 64:
            changed = bytearray(good)
            changed[place] ^= 1
            door.push(changed)
        if place % 97 == 0:
            door.push(good[:place])
            door.push(good + bytes(place))
    flood = door.intake.flood
    true(len(flood.places) <= 2, "%d wait" % len(flood.places))
    door.work(50)
    true(door.keys.verified <= 3, "verified %d" % door.keys.verified)
    equal(door.taken, [])


def test_a_genuine_offer_among_forged_ones_goes_on_once():
    door = Door("offer")
    door.begin()
    good = envelope()
    at = good.find(b"\x58\x40") + 2
    for number in range(64):
        changed = bytearray(good)
        changed[at + number] ^= 1
        door.push(changed)
        if number in (20, 40):
            door.push(good)
            door.work(60)
    door.work()
    equal(door.taken, [good])
    true(door.keys.verified < 40, "verified %d" % door.keys.verified)


def test_a_flood_is_counted_and_ends():
    door = Door("trust")
    door.begin()
    for minute in range(1, 6):
        for _ in range(500):
            door.push(b"nothing at all")
        door.uptime.now = 60 * minute
        door.intake.poll()
        true(door.intake.flood is not None, "it goes on")
    true(2 <= len(door.outbox.sent) <= 6, "alarms %d" % len(door.outbox.sent))
    door.uptime.now += 60
    door.intake.poll()
    equal(door.intake.flood, None)
    door.push(b"in calmer times")
    equal(door.taken, [b"in calmer times"])


def test_what_is_genuine_is_asked_for_again_while_a_flood_lasts_and_after_it():
    door = Door("offer")
    door.begin()
    for minute in range(1, 5):
        for _ in range(MOST):
            door.push(b"nothing at all")
        for second in range(60):
            door.uptime.now = 60 * minute + second
            door.intake.poll()
        equal(door.missed, minute, "once a minute")
    door.uptime.now = 400
    door.intake.poll()
    equal((door.intake.flood, door.missed), (None, 5))
    door.uptime.now = 600
    door.intake.poll()
    equal(door.missed, 5)


def test_a_genuine_offer_that_finds_no_memory_is_judged_again():
    door = Door("offer")
    door.begin()
    short = [2]
    quorum = door.keys.quorum

    def starved(role, signatures, feed):
        if short[0]:
            short[0] -= 1
            raise MemoryError
        return quorum(role, signatures, feed)

    door.keys.quorum = starved
    good = envelope()
    door.push(good)
    door.work(50, Hasty("doors", 180))
    equal(door.taken, [good])
    equal(short, [0])


def test_judging_does_not_have_a_flood_collect_garbage_early():
    if not hasattr(gc, "threshold"):
        return
    usual = gc.threshold()
    gc.threshold(4096)
    door = Door("offer")
    door.begin()
    try:
        for _ in range(3):
            good = envelope()
            door.push(good)
            door.work(60)
            true(gc.threshold() >= 16384, "threshold %d" % gc.threshold())
    finally:
        door.uptime.now = 100
        door.intake.poll()
        equal(door.intake.flood, None)
        gc.threshold(usual)
