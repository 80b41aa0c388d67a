"""Telemetry on its way out: in order, kept while the link is away, bounded, nothing lost without being counted."""

import cbor
import senml_cbor.reader
from check import equal, ground, true
from gate.telemetry.no_ring import NoRing
from gate.telemetry.streams import Measure, Stream
from sim_telemetry import Place, counter

GROUNDS = ("cpython", "unix", "cortex-m3")
HEAP = "1m"
TIMEOUT_S = 300

BASE = "urn:dev:org:tidegate:gw-1:"
FULL = 400 if ground != "cortex-m3" else 220  # packs that two segments do not hold


# ---------------------------------------------------------------- on the way out


def test_a_pack_byte_for_byte():
    place = Place(Stream("env", Measure("t", "Cel", lambda: 2150, 100), period_ms=1000))
    place.sample()
    place.uptime.now = 7
    place.send()
    topic, payload = place.link.sent[0]
    equal(topic, "tele/env")
    equal(
        payload,
        b"\x81\xa6\x00\x61t\x01\x63Cel\x02\xf9\x4d\x60"
        + b"\x21\x78\x1aurn:dev:org:tidegate:gw-1:\x22\x26\x39\x01\x00\x19\x03\xe9",
    )
    record = senml_cbor.reader.decode(payload)[0]
    equal((record.name, record.value, record.unit, record.time), (BASE + "t", 21.5, "Cel", -7))


def test_packs_arrive_in_order_with_their_age():
    place = Place(counter())
    place.link.connected = False
    for second in range(3):
        place.sample()
        place.uptime.now = 10 * (second + 1)
    place.link.connected = True
    place.send()
    equal(place.counted(), [0, 1, 2])
    equal([cbor.loads(payload)[0].get(-3, 0) for _, payload in place.link.sent], [-30, -20, -10])
    equal([cbor.loads(payload)[0][-257] for _, payload in place.link.sent], [1001, 1002, 1003])


def test_lost_answers_lose_nothing():
    place = Place(counter())
    place.sample(8)
    place.link.lose = 7
    place.send()
    equal(place.counted(), list(range(8)))
    equal(place.telemetry.counts(), {"packs_dropped": 0, "source_failures": 0})


def test_a_long_outage_and_a_reset_lose_nothing():
    kept = 200 if ground != "cortex-m3" else 60
    place = Place(counter())
    place.link.connected = False
    for _ in range(kept // 5):
        place.sample(5)
        place.send(turns=4)
    place.telemetry.keep()
    place.boot(number=70000)
    place.sample(10)
    place.link.connected = True
    place.send(turns=4000)
    equal(place.counted(), list(range(kept + 10)))
    ages, numbers = [], []
    for _, payload in place.link.sent:
        first = cbor.loads(payload)[0]
        ages.append(first.get(-3, 0))
        numbers.append(first[-257])
    equal(ages, sorted(ages))
    equal(numbers, list(range(1001, 1001 + kept)) + list(range(70001, 70011)))
    equal(bool(place.ring), False)
    # What was acknowledged is gone, also for the next start.
    place.boot()
    place.send()
    equal(place.link.sent, [])


def test_waits_a_while_before_it_writes():
    place = Place(counter(), write_s=5)
    place.link.connected = False
    place.sample(2)
    place.send(turns=4)
    equal(bool(place.ring), False)
    place.send(turns=40)
    equal(bool(place.ring), True)


def test_what_moves_to_flash_while_it_is_sent_is_sent_once():
    place = Place(counter())
    place.sample(3)
    place.link.before = place.telemetry.keep
    place.send()
    equal(place.counted(), [0, 1, 2])
    equal(bool(place.ring), False)


def test_full_drops_the_oldest_and_says_so():
    place = Place(counter(), segments=2)
    place.link.connected = False
    place.sample(FULL)
    dropped = place.telemetry.counts()["packs_dropped"]
    true(20 < dropped < FULL, "dropped %d" % dropped)
    place.uptime.now = 1000
    place.link.connected = True
    place.send(turns=4000)
    equal(place.counted(), list(range(dropped, FULL)))
    equal(cbor.loads(place.link.sent[0][1])[0][-258], dropped)
    alarm = cbor.loads(place.alarms._outbox.queue[0][1])
    equal((alarm[1], alarm[2], alarm[3]), ("telemetry-dropped", "ring-full", "%d packs lost" % dropped))
    place.boot()
    equal((place.ring.dropped, place.ring.reported), (dropped, dropped))


def test_full_keeps_the_oldest_where_that_is_wanted():
    place = Place(counter(), segments=2, newest=True)
    place.link.connected = False
    place.sample(FULL)
    dropped = place.telemetry.counts()["packs_dropped"]
    place.link.connected = True
    place.send(turns=4000)
    equal(place.counted(), list(range(FULL - dropped)))


def test_without_a_file_system_the_queue_is_what_there_is():
    place = Place(counter())

    def write(buf, size):
        raise OSError(5)

    place.ring.write = write
    place.link.connected = False
    place.sample(100)
    place.link.connected = True
    place.send(turns=1000)
    got = place.counted()
    equal(got, list(range(100 - len(got), 100)))
    equal(place.ring.dropped, 100 - len(got))


def test_an_image_without_a_ring_has_the_queue_alone():
    place = Place(counter(), ring=NoRing())
    place.link.connected = False
    place.sample(100)
    place.link.connected = True
    place.send(turns=1000)
    got = place.counted()
    equal(got, list(range(100 - len(got), 100)))
    equal(place.telemetry.counts()["packs_dropped"], 100 - len(got))
    alarm = cbor.loads(place.alarms._outbox.queue[0][1])
    equal((alarm[1], alarm[3]), ("telemetry-dropped", "%d packs lost" % (100 - len(got))))


def test_streams_keep_their_own_period_and_are_not_mixed():
    slow = Stream("slow", Measure("s", "V", lambda: 1), period_ms=3000)
    fast = Stream("fast", Measure("f", "A", lambda: 2), period_ms=1000)
    place = Place(slow, fast)
    place.sample(6)
    place.send()
    equal([topic[5:] for topic, _ in place.link.sent], ["slow", "fast", "fast", "fast", "slow", "fast", "fast", "fast"])


def test_a_late_call_makes_no_burst():
    place = Place(counter())
    equal(place.telemetry.poll(place.now), 1000)
    equal(place.telemetry.poll(place.now + 400), 600)
    equal(place.telemetry.poll(place.now + 1100), 900)
    equal(place.telemetry.poll(place.now + 61100), 1000)
    place.send()
    equal(place.counted(), [0, 1, 2])


def test_a_source_that_fails_is_left_out():
    def broken():
        raise OSError(5)

    place = Place(
        Stream("env", Measure("a", "V", broken), Measure("b", "V", lambda: 1.5, 10), period_ms=1000),
        Stream("dead", Measure("c", "V", broken), Measure("d", "V", lambda: None), period_ms=1000),
    )
    place.sample(2)
    place.send()
    equal(place.values(), [("tele/env", {"b": 1.5})] * 2)
    equal(place.telemetry.counts()["source_failures"], 4)


def test_a_pack_that_is_too_large_is_said_and_left_out():
    many = [Measure("m%d" % number, "count", lambda: 1) for number in range(40)]
    place = Place(Stream("big", *many, period_ms=1000), counter())
    place.sample(2)
    place.send()
    equal(place.counted(), [0, 1])
