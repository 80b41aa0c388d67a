"""The agent's tasks: a few that run for ever, and jobs, whose tasks live only while there is work.

A task that waits costs some 450 bytes of RAM: its frames, its beat, its event. What is done now
and then is a Job instead, of which only the object is there in between.
"""

import asyncio

from gate import console
from gate.supervisor import keep_going


class Job:
    """Work that comes now and then. Whoever brings some calls set(). ready: whether there is some
    that no task has begun yet; beat: of its task, None while there is none.
    """

    ready = False
    beat = None
    _begin = None

    def set(self):
        """Begins its task, or has the one that runs go on. Cheap; raises nothing."""
        if not self.ready:
            self.ready = True
            if self._begin and not self.beat:
                self._begin(self)

    def bind(self, name, run, limit_s, begin):
        """run(beat): a coroutine function that does all that there is to do."""
        self.name = name
        self.run = run
        self.limit_s = limit_s
        self._begin = begin
        if self.ready:
            begin(self)


class Tasks:
    """jobs: of Job; live: (name, task) of each task there is; fault: (name, exception) of the one
    that ended all.
    """

    def __init__(self, supervisor, failed):
        """failed(name, error, count): a task raised, for the count-th time in a row. If it raises,
        all ends with that.
        """
        self.jobs = []
        self.live = []
        self.fault = None
        self._supervisor = supervisor
        self._failed = failed
        self._over = asyncio.Event()

    def start(self, name, run, limit_s=None):
        """Starts a task; with a limit, `run` is called with its supervisor's Beat."""
        beat = self._supervisor.task(name, limit_s) if limit_s else None
        self._create(name, self._live(name, run, beat, None))

    def work(self, name, run, limit_s, job):
        """Starts a task for this Job whenever there is work."""
        self.jobs.append(job)
        job.bind(name, run, limit_s, self._begin)

    def poll(self):
        """To be called every second or so: begins what found no memory before."""
        for job in self.jobs:
            if job.ready and not job.beat:
                self._begin(job)

    async def over(self):
        """Waits until a task has ended all; raises what it did."""
        await self._over.wait()
        raise self.fault[1]

    def _create(self, name, going):
        self.live.append((name, asyncio.create_task(going)))

    def _begin(self, job):
        try:
            beat = self._supervisor.task(job.name, job.limit_s)
            try:
                self._create(job.name, self._live(job.name, job.run, beat, job))
                job.beat = beat
            except MemoryError:
                self._supervisor.beats.remove(beat)
                raise
        except MemoryError:  # of the moment: poll tries again
            console.debug("task %s: no memory to begin", job.name)

    async def _live(self, name, run, beat, job):
        try:
            if job:
                while job.ready:
                    job.ready = False
                    await keep_going(run, beat, self._failed, name)
            else:
                await keep_going(run, beat, self._failed, name)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # as an interrupt at the console is, too
            self.fault = name, error
            self._over.set()
        finally:
            if beat:
                self._supervisor.beats.remove(beat)
            if job:
                job.beat = None
            self.live[:] = [entry for entry in self.live if entry[0] != name]
