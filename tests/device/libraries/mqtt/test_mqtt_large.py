"""MQTT messages larger than the client's buffer, to and from a caller's memory or file."""

import hashlib

from check import equal, ground, true
from mqtt_control import Running, client, failure, nasty, run, until

SERVICES = "peers.mosquitto"
GROUNDS = ("cpython", "unix", "cortex-m3")
MARKS = ("broker",)
TIMEOUT_S = 120

SIZE = 200_000 if ground == "cortex-m3" else 1_000_000  # bytes; the board has 128 KiB of memory


class Source:
    """A reader of `size` bytes that nobody holds in memory."""

    def __init__(self, size):
        self.size = size
        self.at = 0

    def tell(self):
        return self.at

    def seek(self, at):
        self.at = at

    def readinto(self, view):
        count = min(len(view), self.size - self.at)
        for n in range(count):
            view[n] = (self.at + n) * 7 + (self.at + n >> 8) & 255
        self.at += count
        return count


class Sink:
    """Something to write to: keeps the size and the digest."""

    def __init__(self):
        self.size = 0
        self.digest = hashlib.sha256()
        self.closed = False

    def write(self, view):
        self.size += len(view)
        self.digest.update(view)

    def close(self):
        self.closed = True


def digest(size):
    source, found, buf = Source(size), hashlib.sha256(), bytearray(1000)
    while True:
        count = source.readinto(buf)
        if not count:
            return found.digest()
        found.update(memoryview(buf)[:count])


async def through(version):
    got = []
    places = []

    def place(topic, size, retained):
        places.append((topic[-1], size))
        return {"f": Sink(), "m": bytearray(5000), "n": None, "s": bytearray(10)}[topic[-1]]

    def handler(topic, payload, retained, properties=None):
        if isinstance(payload, Sink):
            payload = payload.size, payload.digest.digest()
        elif len(payload) > 100:
            payload = len(payload), hashlib.sha256(payload).digest()
        else:
            payload = bytes(payload)
        got.append((topic[-1], payload))

    topic = "large/%s-%d/" % (ground, version)
    device = client(
        "large-%s-%d" % (ground, version),
        version=version,
        max_packet=1024,
        on_message=handler,
        on_large=place,
    )
    async with Running(device):
        await device.subscribe(topic + "#", 1)
        for name, size in (("f", SIZE), ("m", 4000), ("n", 4000), ("s", 4000), ("f", 1024)):
            await device.publish(topic + name, Source(size), 1, size=size, timeout_s=35)
        await device.publish(topic + "x", b"small", 1)
        await until(lambda: len(got) == 4, "messages")
        wanted = [("f", (SIZE, digest(SIZE))), ("m", (4000, digest(4000)))]
        wanted += [("f", (1024, digest(1024))), ("x", b"small")]
        equal(got, wanted, "what came")
        equal(places[:4], [("f", SIZE), ("m", 4000), ("n", 4000), ("s", 4000)], "asked for")
        equal((device.oversized, device.sessions), (2, 1), "dropped, sessions")
        equal((device.handler_errors, device.window), (0, []), "faults, window")


def test_through_mosquitto():
    run(through(4))


def test_through_mosquitto_in_5():
    run(through(5))


def test_a_reader_that_gives_too_little():
    async def check():
        device = client("short-" + ground)
        async with Running(device):
            error = await failure(device.publish("short/" + ground, Source(700), 1, size=5000))
            equal(error.reason, "source", "reason")
            await until(lambda: device.sessions == 2, "another connection")
            await device.publish("short/" + ground, b"x", 1)
            equal(device.window, [], "window")

    run(check())


def test_cut_in_the_middle():
    """The first connection ends within the message; the second brings it whole."""

    async def check():
        sinks = []
        got = []

        def place(topic, size, retained):
            sinks.append(Sink())
            return sinks[-1]

        def handler(topic, payload, retained):
            got.append((topic, payload))

        device = nasty("cut", on_message=handler, on_large=place)
        async with Running(device):
            await until(lambda: got, "the message")
            equal([(sink.size, sink.closed) for sink in sinks], [(3000, True), (8000, False)], "sinks")
            true(got == [("a", sinks[1])], "handed over")
            equal((device.error.reason, device.oversized), ("lost", 0), "why, dropped")

    run(check())


def test_a_sink_that_fails():
    """A full disk, say: the message is lost, and counted; the connection goes on."""

    async def check():
        got = []

        class Full(Sink):
            def write(self, view):
                raise OSError(28)

        full = Full()

        def handler(topic, payload, retained):
            got.append((topic, bytes(payload)))

        device = nasty("oversized", on_message=handler, on_large=lambda *_: full)
        async with Running(device):
            await until(lambda: got, "the small one")
            equal(got, [("a", b"zz")], "messages")
            equal((device.handler_errors, device.sessions, full.closed), (2, 1, True), "faults")

    run(check())


def test_a_message_being_sent_outlives_the_broker():
    async def check():
        device = client("again-" + ground, max_packet=1024)
        async with Running(device):
            source = Source(50_000)
            source.seek(1000)
            source.size += 1000
            slow = source.readinto
            ended = []

            def readinto(view):  # the connection is lost after some of it
                if source.at > 20_000 and not ended:
                    ended.append(source.at)
                    device.stream.s.close()
                    raise_lost()
                return slow(view)

            def raise_lost():
                device.stream.writing = True  # as within a write
                raise OSError(104)

            source.readinto = readinto
            await device.publish("again/" + ground, source, 1, size=50_000)
            equal((device.sessions, source.at, len(ended)), (2, 51_000, 1), "sessions, position")

    run(check())


async def topics_that_fill_the_buffer(version):
    got = []

    def handler(topic, payload, retained, properties=None):
        got.append(bytes(payload))

    def place(topic, size, retained):
        return bytearray(size)

    start = "fill/%s-%d/" % (ground, version)
    device = client(
        "fill-%s-%d" % (ground, version),
        version=version,
        max_packet=64,
        on_message=handler,
        on_large=place,
    )
    async with Running(client("filler-%s-%d" % (ground, version))) as other, Running(device):
        await device.subscribe(start + "#", 1)
        sizes = list(range(48, 68)) + [250]
        for size in sizes:
            topic = start + "t" * (size - len(start))
            await other.publish(topic, b"x" * (100 + size), size & 1)
        await other.publish(start, b"end", 1)
        await until(lambda: b"end" in got, "the last")
        equal(len(got) + device.oversized, len(sizes) + 1, "messages, kept or dropped")
        true(len(got) > 10 and device.oversized >= 5, "%d kept" % len(got))
        equal((device.sessions, device.handler_errors), (1, 0), "sessions, faults")


def test_topics_that_fill_the_buffer():
    run(topics_that_fill_the_buffer(4))


def test_topics_that_fill_the_buffer_in_5():
    run(topics_that_fill_the_buffer(5))


async def larger_than_what_is_held(version):
    got = []

    def handler(topic, payload, retained, properties=None):
        got.append((len(payload), hashlib.sha256(payload).digest()))

    name = "held-%s-%d" % (ground, version)
    device = client(name, version=version, max_packet=1024, held=64, on_message=handler)
    held = device.rx
    async with Running(client("holder-%s-%d" % (ground, version))) as other, Running(device):
        await device.subscribe(name, 1)
        sizes = [10, 50, 51, 52, 53, 54, 300, 900, 20, 700, 5]
        for size in sizes:
            content = bytearray(size)
            Source(size).readinto(content)
            await other.publish(name, content, 1)
        await other.publish(name, b"x" * 1024, 1)  # above the limit
        await other.publish(name, b"end", 1)
        await until(lambda: (3, hashlib.sha256(b"end").digest()) in got, "the last")
        equal(got[:-1], [(size, digest(size)) for size in sizes], "what came")
        # In MQTT 5 the broker knows the limit, and keeps it.
        equal((device.oversized, device.sessions), (1 if version == 4 else 0, 1), "dropped, sessions")
        true(device.rx is held and len(held) == 64, "the buffer that lasts")


def test_larger_than_what_is_held():
    run(larger_than_what_is_held(4))


def test_larger_than_what_is_held_in_5():
    run(larger_than_what_is_held(5))


def test_no_memory_for_a_larger_one():
    """The connection ends, and what was not acknowledged comes again."""

    async def check():
        got = []

        def handler(topic, payload, retained):
            got.append(bytes(payload))

        name = "starved-" + ground
        device = client(name, max_packet=1024, held=64, clean=False, on_message=handler)
        enlarge = device.enlarge
        failures = [MemoryError(), MemoryError()]

        def starved(size):
            if failures:
                raise failures.pop()
            enlarge(size)

        device.enlarge = starved
        async with Running(client("feeder-" + ground)) as other, Running(device):
            await device.subscribe(name, 1)
            await other.publish(name, b"y" * 500, 1)
            await until(lambda: got, "the message")
            equal((got, device.sessions), ([b"y" * 500], 3), "messages, sessions")

    run(check())
