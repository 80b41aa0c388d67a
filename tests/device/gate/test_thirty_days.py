"""The agent's clock over 30 days, on ticks that wrap around as a 32-bit board's do: after 2**30 ms, 12.4 days.

The event loop's time is simulated: where nothing is ready it leaps to what is due next, so thirty days take seconds.
"""

import asyncio
import selectors

import aiotcp
from check import equal, true

GROUNDS = ("cpython",)
DAY_S = 86_400
PERIOD = 1 << 30

_now = [0.0]  # s


def _ticks_diff(later, earlier):
    return (later - earlier + PERIOD // 2) % PERIOD - PERIOD // 2


aiotcp.ticks_ms = lambda: int(_now[0] * 1000) % PERIOD
aiotcp.ticks_diff = _ticks_diff

import mqtt.session  # noqa: E402
from gate import supervisor  # noqa: E402
from gate.clock import Uptime  # noqa: E402
from gate.reporting import alarms  # noqa: E402
from gate.tasks import Job, Tasks  # noqa: E402
from gate.telemetry.streams import RATE, Measure, Stream  # noqa: E402
from mqtt import Client  # noqa: E402

# A look each minute instead of each second or half, so that the test does not take an hour.
supervisor._ROUND_MS = mqtt.session._TICK_MS = 60_000


class Leaping(selectors.SelectSelector):
    """Does not wait for the next timer: it is then."""

    def select(self, timeout=None):
        found = super().select(0)
        if not found and timeout:
            _now[0] += timeout
        return found


def run(main):
    loop = asyncio.SelectorEventLoop(Leaping())
    loop.time = lambda: _now[0]
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


class Watchdog:
    feeds = 0

    def start(self):
        pass

    def feed(self):
        self.feeds += 1


class Outbox:
    def __init__(self):
        self.topics = []

    def add(self, topic, payload):
        self.topics.append(topic)


def test_uptime_alarms_and_the_watchdog():
    uptime, watchdog, outbox = Uptime(), Watchdog(), Outbox()
    late = []
    watcher = supervisor.Supervisor(watchdog, uptime.seconds, lambda *what: late.append(what))
    raised = alarms.Alarms(outbox, uptime)
    job = Job()
    worked = []

    async def work(beat):  # an hour of work, then days without any
        await beat.sleep(3600)
        worked.append(_now[0])

    async def main():
        tasks = [asyncio.create_task(watcher.run())]
        job.set()
        Tasks(watcher, None).work("work", work, 180, job)
        sent = []
        for day in range(30):
            for _ in range(9):
                raised.raise_(alarms.CRASH, "test")
            sent.append(len(outbox.topics))
            await asyncio.sleep(DAY_S)
            if day % 7 == 6:
                job.set()
        for task in tasks:
            task.cancel()
        return sent

    began = _now[0]
    sent = run(main())
    true(abs(uptime.seconds() - (_now[0] - began)) <= 1, "uptime %d s" % uptime.seconds())
    equal(late, [], "tasks found stuck")
    equal(len(worked), 5, "hours of work")
    true(watchdog.feeds >= 30 * 1440, "feeds %d" % watchdog.feeds)
    equal(sent, [5 * (day + 1) for day in range(30)], "alarms, five each day")


class Pack:
    def __init__(self):
        self.records = []

    def add(self, name, value, unit, time, divisor, more=b""):
        self.records.append((name + more.decode(), value / divisor))


def test_windows_of_days_tell_the_right_rate_or_none():
    for days, told in ((1, True), (7, True), (12, True), (13, False), (30, False)):
        count = [0]

        def read(count=count):
            count[0] += 1
            return count[0]

        stream = Stream("s", Measure("m", None, read, tell=RATE), period_ms=DAY_S * 1000, window=days + 1)
        stream.start(0)
        for _ in range(days + 1):
            stream.sample(aiotcp.ticks_ms())
            _now[0] += DAY_S
        pack = Pack()
        stream.tell(pack)
        equal([name for name, _ in pack.records], ["m.rate"] if told else [], "%d days" % days)
        if told:
            true(abs(pack.records[0][1] * DAY_S - 1) < 1e-6, "%d days: %r" % (days, pack.records))


async def broker(reader, writer, code, pings):
    """CONNACK with this code, then an answer to each PINGREQ."""
    try:
        await reader.readexactly(2)
        writer.write(bytes((0x20, 2, 0, code[0])))
        while True:
            if (await reader.readexactly(1))[0] == 0xC0:
                pings.append(_now[0])
                writer.write(b"\xd0\x00")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def test_a_connection_of_any_length_starts_the_pauses_over():
    code, pings, writers, said = [0], [], [], []

    async def main():
        async def serve(reader, writer):
            writers.append(writer)
            await broker(reader, writer, code, pings)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Client("gw-1", "127.0.0.1", port, keepalive=600, log=said.append, rng=lambda n: b"\xff" * n)
        client.reply_ms = 300_000
        task = asyncio.create_task(client.run())
        pauses = {}
        for days in (1, 6, 7, 10, 13, 30):
            code[0] = 3  # refused, until the pause has grown
            for writer in writers:
                writer.close()
            del said[:], writers[:]
            while sum("refused" in line for line in said) < 5:
                await asyncio.sleep(1)
            code[0] = 0
            await client.wait_connected()
            sessions = client.sessions
            await asyncio.sleep(days * DAY_S)
            equal(client.sessions, sessions, "connections within %d days" % days)
            del said[:]
            for writer in writers:
                writer.close()
            while not any("next try" in line for line in said):
                await asyncio.sleep(0.1)
            pauses[days] = next(line.split("next try in ")[1] for line in said if "next try" in line)
        task.cancel()
        server.close()
        return pauses

    pauses = run(main())
    equal(set(pauses.values()), {"999 ms"}, "the first pause after so many days: %r" % pauses)
    true(len(pings) > 67 * 144, "pings %d" % len(pings))
