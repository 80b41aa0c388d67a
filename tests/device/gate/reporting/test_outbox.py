"""Outbox and alarms: in order, bounded, nothing lost without being counted. Telemetry: test_pipeline."""

import asyncio

import cbor
import scratch
from check import equal, raises, true
from gate import LinkError
from gate.files import SmallFiles
from gate.reporting import reports
from gate.reporting.alarms import Alarms
from gate.reporting.outbox import Outbox
from gate.supervisor import Beat
from gate.update import failures


class Link:
    """A connection that can be away, and can lose the answer to a publish."""

    def __init__(self):
        self.connected = True
        self.sent = []
        self.lose = 0  # publishes that fail, from the next on

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        await asyncio.sleep(0)
        if not self.connected or self.lose:
            self.lose = max(0, self.lose - 1)
            raise LinkError("no answer")
        self.sent.append((topic, payload))


class Uptime:
    def __init__(self):
        self.now = 0

    def seconds(self):
        return self.now


class QuickBeat(Beat):
    """Sleeps no longer than one turn of the loop."""

    async def sleep(self, seconds):
        self()
        await asyncio.sleep(0)


def run(*coroutines, turns=400):
    """Runs the coroutines for a while, then ends them."""

    async def main():
        tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)

    asyncio.run(main())


# ---------------------------------------------------------------- outbox


def test_outbox_keeps_the_order_over_a_reset():
    link = Link()
    link.connected = False
    state = SmallFiles(scratch.folder())
    outbox = Outbox(link, state)
    for number in range(5):
        outbox.add("report", bytes([number]))
    outbox.add("report", b"progress", keep=False)
    outbox = Outbox(link, state)  # after a reset
    outbox.add("report", bytes([5]))
    link.connected = True
    link.lose = 2
    run(outbox.run(QuickBeat("o", 9)))
    equal(link.sent, [("report", bytes([number])) for number in range(6)])
    equal(state.names(), [])
    equal(Outbox(link, state).queue, [])


def test_outbox_is_bounded():
    link = Link()
    link.connected = False
    outbox = Outbox(link, SmallFiles(scratch.folder()))
    for number in range(40):
        outbox.add("report", bytes([number]))
    equal([entry[1] for entry in outbox.queue], [bytes([number]) for number in range(24, 40)])
    equal(outbox.dropped, 24)


def test_damaged_outbox_file_is_no_crash():
    state = SmallFiles(scratch.folder())
    for content in (5, [5], [["report"]], [[1, 2]], {"a": 1}):
        state.store("outbox", content)
        equal(Outbox(Link(), state).queue, [])


# ---------------------------------------------------------------- alarms and reports


def test_alarms_are_limited_and_counted():
    link, uptime = Link(), Uptime()
    outbox = Outbox(link, SmallFiles(scratch.folder()))
    alarms = Alarms(outbox, uptime)
    for _ in range(9):
        alarms.raise_("command-refused", "signature")
    alarms.raise_("crash", "exception")  # another kind is not held back
    equal(len(outbox.queue), 6)
    uptime.now = 29
    alarms.raise_("command-refused", "signature")
    equal(len(outbox.queue), 6)
    uptime.now = 30
    alarms.raise_("command-refused", "signature")
    equal(cbor.loads(outbox.queue[-1][1]), {1: "command-refused", 2: "signature", 5: 5})


def test_reports_fit_their_limits():
    link = Link()
    outbox = Outbox(link, SmallFiles(scratch.folder()))
    settled = []
    reporter = reports.Reporter(bytes(8), outbox, lambda: settled.append(True))
    failure = failures.Failure(failures.PATCH, "\u00e4" * 200)
    reporter.report(reports.FAILED, 7, bytes(32), failure=failure)
    message = cbor.loads(outbox.queue[0][1])
    equal(len(message[-260].encode()), 160)
    equal(message[4], {5: 12, 7: 11})
    equal(message[99], [[-16, bytes(32)]])
    equal(message[-257], [0, 5])
    reporter.report(reports.FETCHING, 7)
    equal(settled, [True])


def test_every_failure_has_a_word_and_numbers():
    for code in list(range(1, 18)) + list(range(32, 40)):
        failure = failures.Failure(code, "x")
        true(failure.word and 0 < failure.reason <= 12 and 0 < failure.result <= 11, "code %d" % code)
    raises(KeyError, failures.Failure, 31, "x")
