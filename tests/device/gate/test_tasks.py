"""Jobs: their tasks live only while there is work, none of which is lost."""

import asyncio

import aiotcp
from check import equal, raises, true


async def _sleep_ms(ms):
    await asyncio.sleep(0)


# No pause takes time, for this script alone (each runs in a process of its own).
aiotcp.sleep_ms = _sleep_ms

from gate.supervisor import Supervisor  # noqa: E402
from gate.tasks import Job, Tasks  # noqa: E402


class Watchdog:
    def start(self):
        pass

    feed = start


class Worker:
    """Does what is in its inbox, a turn of the loop each."""

    def __init__(self, failed=None):
        self.inbox, self.done, self.told = [], [], []
        self.job = Job()
        self.supervisor = Supervisor(Watchdog(), str)
        self.tasks = Tasks(self.supervisor, failed or self.failed)
        self.spoil = None  # called with each before it is done

    def failed(self, name, error, count):
        self.told.append((name, repr(error)[:10], count))

    def bring(self, what):
        self.inbox.append(what)
        self.job.set()

    async def run(self, beat):
        while self.inbox:
            await asyncio.sleep(0)
            what = self.inbox.pop(0)
            if self.spoil:
                self.spoil(what)
            self.done.append(what)

    def begin(self):
        self.tasks.work("worker", self.run, 60, self.job)

    def rests(self):
        return not (self.tasks.live or self.supervisor.beats or self.job.beat or self.job.ready)


async def turns(count=40):
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_task_lives_while_there_is_work():
    async def main():
        worker = Worker()
        worker.bring(1)  # before there is a loop for it
        worker.begin()
        equal([name for name, _ in worker.tasks.live], ["worker"])
        equal([beat.name for beat in worker.supervisor.beats], ["worker"])
        await turns()
        true(worker.rests())
        worker.bring(2)
        worker.bring(3)
        await turns()
        equal(worker.done, [1, 2, 3])
        true(worker.rests())

    asyncio.run(main())


def test_what_comes_at_any_moment_is_done():
    async def main():
        worker = Worker()
        worker.begin()
        for number in range(60):
            worker.bring(number)
            await turns(number % 7)
        await turns()
        equal(worker.done, list(range(60)))
        true(worker.rests())

    asyncio.run(main())


def test_no_memory_to_begin():
    async def main():
        worker = Worker()
        worker.begin()
        create, worker.tasks._create = worker.tasks._create, no_memory
        worker.bring(1)
        worker.tasks.poll()
        await turns()
        equal((worker.done, worker.supervisor.beats), ([], []))
        worker.tasks._create = create
        worker.tasks.poll()
        await turns()
        equal(worker.done, [1])
        true(worker.rests())

    def no_memory(name, going):
        going.close()
        raise MemoryError

    asyncio.run(main())


def test_no_memory_for_what_is_noted_of_it():
    """Whatever of beginning one finds no memory, there is never a second task of the job."""

    class Narrow(list):
        wide = False

        def append(self, entry):
            if not self.wide:
                raise MemoryError
            super().append(entry)

    async def main():
        worker = Worker()
        worker.begin()
        live, beats = worker.tasks.live, worker.supervisor.beats
        for name in ("live", "beats"):
            narrow = Narrow()
            setattr(worker.tasks if name == "live" else worker.supervisor, name, narrow)
            worker.bring(name)
            worker.tasks.poll()
            await turns()
            true(name not in worker.done, name)
            equal((len(worker.tasks.live), len(worker.supervisor.beats)), (0, 0), name)
            narrow.wide = True
            worker.tasks.poll()
            await turns()
            equal(worker.done.count(name), 1)
            true(worker.rests(), name)
            worker.tasks.live, worker.supervisor.beats = live, beats

    asyncio.run(main())


def test_one_that_raises_goes_on():
    def spoil(what):
        if what == 2:
            raise ValueError("two")

    async def main():
        worker = Worker()
        worker.begin()
        worker.spoil = spoil
        for number in range(5):
            worker.bring(number)
        await turns(1000)
        equal(worker.done, [0, 1, 3, 4])
        equal(worker.told, [("worker", "ValueError", 1)])
        true(worker.rests())

    asyncio.run(main())


def test_in_a_trial_it_ends_all():
    def failed(name, error, count):
        raise error

    def spoil(what):
        raise ValueError("a bad image")

    async def main():
        worker = Worker(failed)
        worker.begin()
        worker.spoil = spoil
        worker.bring(1)
        try:
            await worker.supervisor.run(worker.tasks)
            raise worker.tasks.fault[1]
        finally:
            equal(worker.tasks.fault[0], "worker")

    raises(ValueError, asyncio.run, main())
