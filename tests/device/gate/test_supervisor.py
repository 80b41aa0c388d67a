"""The watchdog is fed while every task makes progress, and not when one does not."""

import asyncio

import aiotcp
from check import equal, true

_now = [0]


async def _sleep_ms(ms):
    _now[0] += ms
    await asyncio.sleep(0)


# Simulated time, for this script alone (each runs in a process of its own).
aiotcp.ticks_ms = lambda: _now[0]
aiotcp.ticks_diff = lambda later, earlier: later - earlier
aiotcp.sleep_ms = _sleep_ms

from gate.clock import Uptime  # noqa: E402
from gate.supervisor import Supervisor  # noqa: E402
from gate.tasks import Job, Tasks  # noqa: E402


class Watchdog:
    def __init__(self):
        self.feeds = []
        self.started = False

    def start(self):
        self.started = True

    def feed(self):
        self.feeds.append(_now[0])


def run(supervisor, *coroutines, turns=300):
    async def main():
        tasks = [asyncio.create_task(coroutine) for coroutine in (supervisor.run(),) + coroutines]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)

    asyncio.run(main())


def test_fed_while_all_is_well():
    watchdog = Watchdog()
    supervisor = Supervisor(watchdog, Uptime().seconds)
    beat = supervisor.task("work", 10)

    async def work():
        while True:
            await beat.sleep(5)

    run(supervisor, work())
    true(watchdog.started)
    true(len(watchdog.feeds) > 50, "feeds %d" % len(watchdog.feeds))


def test_stuck_task_starves_it():
    watchdog, stuck = Watchdog(), []
    supervisor = Supervisor(watchdog, Uptime().seconds, lambda name, seconds: stuck.append((name, seconds)))
    beat = supervisor.task("good", 10)
    supervisor.task("bad", 30)
    began = _now[0]

    async def good():
        while True:
            await beat.sleep(1)

    run(supervisor, good())
    equal(stuck, [("bad", 30)])
    true(watchdog.feeds[-1] - began <= 32000, "last fed after %d ms" % (watchdog.feeds[-1] - began))


def test_a_job_without_work_is_not_late():
    watchdog = Watchdog()
    supervisor = Supervisor(watchdog, Uptime().seconds)
    tasks = Tasks(supervisor, None)
    job = Job()
    done = []

    async def work(beat):
        done.append(_now[0])
        await asyncio.sleep(0)
        while True:  # works on and never checks in again
            await asyncio.sleep(0)

    async def later():
        tasks.work("job", work, 10, job)
        for _ in range(100):
            await asyncio.sleep(0)
        job.set()

    run(supervisor, later())
    equal(len(done), 1)
    last = watchdog.feeds[-1]
    true(done[0] - 2000 <= last <= done[0] + 12000, "fed until %d, work since %d" % (last, done[0]))


def test_uptime_does_not_wrap():
    uptime = Uptime()
    start = _now[0]
    for _ in range(10):
        _now[0] += 86400 * 1000 + 500
        uptime.seconds()
    equal(uptime.seconds(), (_now[0] - start) // 1000)


def test_a_task_that_raises_begins_again_and_the_others_live_on():
    watchdog = Watchdog()
    supervisor = Supervisor(watchdog, Uptime().seconds)
    begun, told, lived = [], [], []

    async def work(beat):
        begun.append(_now[0])
        await beat.sleep(1)
        if len(begun) < 12:
            raise ValueError("this one")
        while True:
            await beat.sleep(5)

    async def live(beat):
        while True:
            lived.append(_now[0])
            await beat.sleep(5)

    tasks = Tasks(supervisor, lambda *what: told.append((what[0], what[2])))

    async def main():
        tasks.start("work", work, 10)
        tasks.start("other", live, 10)

    run(supervisor, main(), turns=6000)
    equal(told, [("work", count) for count in range(1, 12)])
    pauses = [later - before for before, later in zip(begun, begun[1:])]
    true(pauses[0] < pauses[2] < pauses[4], pauses)
    true(max(pauses) < 2_000_000, pauses)
    equal(len(begun), 12)
    true(len(lived) > 20, "the other task lived on")
    equal(supervisor.late(), None)


def test_a_poll_that_raises_feeds_the_watchdog_all_the_same():
    watchdog = Watchdog()

    def poll():
        raise OSError(28)

    run(Supervisor(watchdog, poll))
    true(len(watchdog.feeds) > 50, "feeds %d" % len(watchdog.feeds))
