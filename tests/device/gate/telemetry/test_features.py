"""What becomes of a sample: checked, calibrated, gathered in windows; without the heap where it is hot."""

import gc
import math

import scratch
import senml_cbor.reader
from check import Random, equal, ground, raises, true
from gate.telemetry import calibration, streams
from gate.telemetry.e2e_frame import Frame, crc8
from gate.telemetry.streams import (
    DEV,
    MAX,
    MEAN,
    MIN,
    OVER,
    RATE,
    Measure,
    Stream,
    field,
    interpolate,
    make_curve,
)
from sim_telemetry import Place

GROUNDS = ("cpython", "unix", "cortex-m3")
HEAP = "1m"
TIMEOUT_S = 300


# ---------------------------------------------------------------- checks


def test_what_is_out_of_range_is_counted_not_sent():
    values = iter((5, 99, -1, 7))
    place = Place(Stream("env", Measure("a", "V", lambda: next(values), 1, 0, 10), period_ms=1000))
    place.sample(4)
    place.send()
    names = [{"a": 5}, {"env.rejected": 1}, {"env.rejected": 1}, {"a": 7}]
    equal([value for _, value in place.values()], names)


def test_frames_are_checked():
    # SAE J1850's check value, and the frame as AUTOSAR's profile 1 lays it out.
    equal(crc8(b"\x00123456789", 0) ^ 0xFF, crc_of(b"\x00\x00123456789", 0xFF))
    equal(crc_of(b"123456789", 0xFF) ^ 0xFF, 0x4B)
    frames = []

    def made(count, value):
        data = bytearray(b"\x00" * 8)
        data[1], data[2], data[3] = count, value & 0xFF, value >> 8
        data[0] = crc8(data, 0x123)
        return data

    def read(data):
        if not frames:
            return False
        data[:] = frames.pop(0)
        return True

    frame = Frame(0x123, 8, read)
    equal(frame.receive(), None)
    wrong = made(4, 400)
    wrong[2] ^= 1
    wanted = (
        (made(0, 1000), True),
        (made(1, 1000), True),
        (made(1, 1000), False),  # stands still
        (wrong, False),  # damaged
        (made(4, 1000), True),  # two are missing
        (made(8, 1000), False),  # too many are
        (made(9, 1000), True),
        (made(15, 1000), False),  # no such count
        (made(14, 1000), False),
        (made(0, 1000), True),  # over the end
    )
    for data, good in wanted:
        frames.append(data)
        equal(frame.receive(), good)
    equal((frame.damaged, frame.repeated, frame.missed), (2, 1, 2 + 3 + 4))
    stream = Stream("bus", Measure("speed", "m/s", (2, 2, False), 100), window=4, period_ms=1000, frame=frame)
    place = Place(stream)
    frames += [made(1, 1000), made(2, 3000), made(2, 9000)]
    place.sample(4)
    place.send()
    equal(place.values(), [("tele/bus", {"speed.mean": 20, "bus.rejected": 1})])


def test_a_bus_that_fails_and_values_beyond_all_range():
    def read(data):
        raise OSError(5)

    bus = Stream("bus", Measure("v", "V", (2, 2, False)), period_ms=1000, frame=Frame(1, 8, read))
    values = iter((1 << 28, -(1 << 40), (1 << 28) - 1))
    wide = Stream("wide", Measure("w", "V", lambda: next(values), 1, -1e12, 1e12), period_ms=1000)
    place = Place(bus, wide)
    place.sample(3)
    place.send()
    equal([value for _, value in place.values()], [{"wide.rejected": 1}] * 2 + [{"w": (1 << 28) - 1}])
    equal(place.telemetry.counts()["source_failures"], 3)


def test_the_first_failure_has_its_trace():
    class System:
        def print_exception(self, error):
            traced.append(error)

    def read():
        raise OSError(5)

    traced = []
    real, streams.sys = streams.sys, System()
    try:
        Place(Stream("app", Measure("t", "Cel", read), period_ms=1000)).sample(3)
    finally:
        streams.sys = real
    equal([error.args for error in traced], [(5,)])


def crc_of(data, crc):
    """SAE J1850's CRC-8, bit by bit."""
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x11D if crc & 0x80 else 0)
    return crc


def test_fields_of_a_frame():
    data = b"\x01\x02\xff\xfe\x80\x00"
    equal(field(data, (0, 2, False)), 0x0201)
    equal(field(data, (2, 2, False)), 0xFEFF)
    equal(field(data, (2, 2, True)), 0xFEFF - 0x10000)
    equal(field(data, (4, 1, True)), -128)
    equal(field(data, (5, 1, True)), 0)


# ---------------------------------------------------------------- calibration


def test_curves():
    curve = make_curve(((0, -40), (1000, 60), (4000, 660)), 10)
    for reading, value in ((0, -400), (500, 100), (1000, 600), (1001, 602), (4000, 6600), (-10, -410), (4010, 6620)):
        equal(interpolate(curve, reading), value, "at %d" % reading)
    equal(interpolate(make_curve(((0, 0), (3, 1)), 1), 2), 1)  # to the nearest
    for points in ((), ((0, 1),), ((0, 1), (0, 2)), ((1, 1), (0, 2)), ((0, 1), (0.5, 2)), ((0, 1), (1, 1e30))):
        raises(ValueError, make_curve, points, 1)
    raises(ValueError, make_curve, tuple((x, x) for x in range(33)), 1)


def test_a_table_is_taken_while_running():
    reading = [100]
    measure = Measure("t", "Cel", lambda: reading[0], 10, -40, 125, curve=((0, 0), (1000, 100)))
    plain = Measure("u", "V", lambda: 5)
    place = Place(Stream("env", measure, plain, period_ms=1000))
    table = place.folder + "/table.json"

    def taken(text):
        scratch.write(table, text.encode())
        calibration.use(table, place.streams, make_curve)

    place.sample()
    taken('{"t": [[0, 10], [500, 20], [1000, 110]], "u": [[0, 0], [5, 50]]}')
    place.sample()
    for wrong in (
        '{"t": [[0, 10], [0, 20]]}',
        '{"t": [[0, 10]]}',
        '{"t": 5}',
        '{"t": [[0, 10], ["a", 20]]}',
        '{"t": [[0, 10], [1]]}',
        '{"t": [[0, "x"], [1, 2]]}',
        '{"u": [[0, 0], [1, 1]], "nobody": [[0, 10], [1, 20]]}',
        "[]",
        '{"t": [[0, 1e300], [1, 2]]}',
    ):
        raises(ValueError, taken, wrong)
    place.sample()
    calibration.use(None, place.streams, make_curve)
    place.sample()
    place.send()
    equal([value for _, value in place.values()], [{"t": 10, "u": 5}] + [{"t": 12, "u": 50}] * 2 + [{"t": 10, "u": 5}])


# ---------------------------------------------------------------- windows


def features(samples, scale=1, over=None, period_ms=100):
    """What a window of these samples says: {name: value}."""
    values = iter(samples)
    tell = MEAN | MIN | MAX | DEV | RATE | OVER
    stream = Stream(
        "s", Measure("x", "V", lambda: next(values), scale, tell=tell, over=over), window=len(samples), period_ms=1000
    )
    stream.start(0)
    pack = senml_cbor.Pack("b:")
    for at in range(len(samples)):
        stream.sample(5000 + at * period_ms)
    stream.tell(pack)
    return {record.name[4:]: record.value for record in senml_cbor.reader.decode(pack.encode())}


def close(got, wanted, what):
    if abs(got - wanted) > 2e-6 * max(abs(wanted), 1e-3):
        raise AssertionError("%s is %r, not %r" % (what, got, wanted))


def test_features_of_a_window():
    told = features((10, 12, 14, 12, 27), 10, over=1.3)
    equal(told["min"], 1)
    equal(told["over"], 2)
    close(told["max"], 2.7, "max")
    close(told["mean"], 1.5, "mean")
    close(told["dev"], math.sqrt(188 / 4) / 10, "dev")  # by hand: squares of -5, -3, -1, -3, 12
    close(told["rate"], 1.7 / 0.4, "rate")
    equal(features((7,)), {"": 7})  # a window of one sample is the sample
    close(features((5, 5, 5))["dev"], 0, "dev")


def test_features_do_not_cancel_out():
    # A large level with a small ripple: in single precision the textbook sum of squares has nothing left of it.
    ripple = (0, 1, 2, 1) * 25
    told = features([200000000 + step for step in ripple])
    close(told["dev"], math.sqrt(50 / 99), "dev")
    told = features([-268435455, 268435455] * 50)
    close(told["dev"], 268435455 * math.sqrt(100 / 99), "dev")
    close(told["mean"], 0, "mean")


def test_features_agree_with_exact_sums():
    random = Random(5)
    for bits in (3, 8, 15, 16, 20, 27):
        for _ in range(3):
            count = 2 + random.below(60)
            samples = [random.below(1 << bits) - random.below(1 << bits) for _ in range(count)]
            told = features(samples)
            total = sum(samples)
            spread = count * sum(value * value for value in samples) - total * total
            close(told["mean"], total / count, "mean of %s" % samples)
            close(told["dev"], math.sqrt(spread / (count * (count - 1))), "dev of %s" % samples)
            equal((told["min"], told["max"]), (float_of(min(samples)), float_of(max(samples))))
            close(told["rate"], (samples[-1] - samples[0]) * 10 / (count - 1), "rate")


def float_of(number):
    return number


def test_windows_follow_each_other():
    values = iter(range(100))
    place = Place(Stream("w", Measure("x", "V", lambda: next(values), tell=MIN | MAX), window=10, period_ms=100))
    place.sample(30, 100)
    place.send()
    told = [(value["x.min"], value["x.max"]) for _, value in place.values()]
    equal(told, [(0, 9), (10, 19), (20, 29)])


# ---------------------------------------------------------------- without the heap


class Bus:
    def __init__(self):
        self.sent = 0

    def read(self, data):
        data[1] = self.sent % 15
        data[2] = self.sent & 0xFF
        data[3] = 3
        data[0] = crc8(data, 7)
        self.sent += 1
        return True


def test_no_heap_from_sample_to_pack():
    """Sampling, checking, calibration, windows and the making of packs, with the heap locked."""
    if ground == "cpython":
        return
    import micropython

    bus = Bus()
    tell = MEAN | MIN | MAX | RATE | OVER
    reading = [0]

    def read():
        reading[0] = (reading[0] * 5 + 3) & 0xFFF
        return reading[0]

    curve = ((0, -40), (2000, 40), (4095, 125))
    streams = (
        Stream("one", Measure("adc", "Cel", read, 100, -40, 125, curve=curve), period_ms=1000),
        Stream(
            "bus",
            Measure("speed", "m/s", (2, 2, False), 16, 0, 200, tell, 50),
            Measure("low", "V", (2, 1, True), 1, -100, 100, tell),
            period_ms=200,
            window=10,
            frame=Frame(7, 8, bus.read),
        ),
    )
    place = Place(*streams)
    telemetry, now = place.telemetry, place.now
    for _ in range(60):  # what is made once: characters, the ring's folder
        telemetry.poll(now)
        now += 200
        if telemetry.used > 500:
            telemetry.used = 0
    telemetry.used = packs = 0
    gc.collect()
    micropython.heap_lock()
    try:
        for _ in range(100):
            telemetry.poll(now)
            now += 200
            if telemetry.used > 500:
                packs += 1
                telemetry.used = 0
    finally:
        micropython.heap_unlock()
    true(packs > 3, "packs")
    place.send()
    true(place.values(), "the last packs")


def test_features_leave_no_garbage_but_for_the_deviation():
    """What a window's end costs where the deviation is told: a few floats and wide integers."""
    if ground == "cpython":
        return
    stream = Stream("s", Measure("x", "V", lambda: 3, 10, tell=MEAN | DEV), window=5, period_ms=100)
    stream.start(0)
    pack = senml_cbor.Pack("b:")
    for at in range(5):
        stream.sample(at)
    pack.begin()
    stream.tell(pack)
    gc.collect()
    before = gc.mem_alloc()
    pack.begin()
    stream.tell(pack)
    cost = gc.mem_alloc() - before
    print("a deviation: %d bytes of garbage" % cost)
    true(cost <= 512, "cost %d" % cost)


def test_streams_and_measures_are_judged_when_they_are_made():
    for scale in (0, -1, -10, 2.5, "10", True, 1 << 28):
        raises(ValueError, Measure, "a", "Cel", int, scale)
    for name in ("a b", "a\n", "\u00f6", None, 5, "x" * 66):
        raises(ValueError, Measure, name, "Cel", int)
    for bad in ({"unit": 5}, {"tell": 64}, {"tell": 1.5}, {"low": 5, "high": 4}):
        raises(ValueError, Measure, "a", bad.pop("unit", "Cel"), int, **bad)
    for name in ("", "a b", "a/b", "a+", "#", "\u00f6", "x" * 33):
        raises(ValueError, Stream, name)
    for bad in ({"window": 0}, {"window": -1}, {"window": 1.5}, {"window": 65536}, {"period_ms": 0}, {"period_s": -1}):
        raises(ValueError, Stream, "s", **bad)
    raises(ValueError, Stream, "s", period_s=86401)
    equal(Stream("s", period_s=0.5).period_ms, 500)
    equal(Stream("s").period_ms, None)
    Measure("x" * 65, None, None)
