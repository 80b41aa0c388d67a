"""The agent's tasks: a few that run for ever, and jobs, whose tasks live only while there is work.

A task that waits costs some 450 bytes of RAM: its frames, its beat, its event. What is done now
and then is a Job instead, of which only the object is there in between.
"""

import asyncio

from gate.clock import const, sleep_ms, ticks_diff, ticks_ms

_PAUSE_MS = const(1000)  # twice this before a task that raised begins again, doubled each time
_PAUSE_MOST_MS = const(300_000)
_PAUSE_PART_MS = const(1000)
_LASTED_MS = const(600_000)  # a task that ran so long starts the pauses over


class Job:
    """Work that comes now and then. Whoever brings some calls set(). ready: whether there is some
    that no task has begun yet; beat: of its task, None while there is none.
    """

    ready = False
    beat = None
    limit_s = 60
    _tasks = None

    def set(self):
        """Begins its task, or has the one that runs go on. Cheap; raises nothing."""
        if not self.ready:
            self.ready = True
            if self._tasks and not self.beat:
                self._tasks.begin(self)

    def bind(self, tasks, name, run):
        self._tasks = tasks
        self.name = name
        self.run = run
        self.ready = self.ready  # their places now: set() and begin() must not ask for memory
        self.beat = None
        if self.ready:
            tasks.begin(self)


class Tasks:
    """jobs: of Job; live: [name, task] of each task there is; fault: (name, exception) of the one
    that ended all, or None.
    """

    fault = None

    def __init__(self, supervisor, failed):
        """failed(name, error, count): a task raised, for the count-th time in a row. If it raises,
        all ends with that.
        """
        self.jobs = []
        self.live = []
        self._supervisor = supervisor
        self._failed = failed

    def start(self, name, run, limit_s=None):
        """Starts a task; with a limit, `run` is called with its supervisor's Beat. When it raises
        it begins again, after a pause that grows.
        """
        beat = self._supervisor.task(name, limit_s) if limit_s else None
        self._create(name, self._keep_going(name, run, beat, None))

    def work(self, name, run, limit_s, job):
        """Starts a task for this Job whenever there is work: the coroutine function run(beat) does
        all that there is to do.
        """
        self.jobs.append(job)
        if limit_s != Job.limit_s:
            job.limit_s = limit_s
        job.bind(self, name, run)

    def poll(self):
        """To be called every second or so: begins what found no memory before."""
        for job in self.jobs:
            if job.ready and not job.beat:
                self.begin(job)

    def begin(self, job):
        """Starts the task of a Job that is ready."""
        try:
            job.beat = self._supervisor.task(job.name, job.limit_s)
            self._create(job.name, self._keep_going(job.name, job.run, job.beat, job))
        except MemoryError:  # of the moment: poll tries again
            if job.beat:
                self._supervisor.beats.remove(job.beat)
                job.beat = None

    def _create(self, name, going):
        entry = [name, None]
        self.live.append(entry)
        try:
            entry[1] = asyncio.create_task(going)  # last: it cannot be taken back
        except MemoryError:
            self.live.remove(entry)
            raise

    async def _keep_going(self, name, run, beat, job):
        """All of a task's life."""
        count = 0
        try:
            while count or not job or job.ready:
                if job:
                    job.ready = False
                began = ticks_ms()
                try:
                    await (run(beat) if beat else run())
                    count = 0
                    if not job:
                        break
                    continue
                except Exception as error:
                    # Ticks wrap around in days; a difference below 0 is such a long time.
                    if not 0 <= ticks_diff(ticks_ms(), began) < _LASTED_MS:
                        count = 0
                    count += 1
                    self._failed(name, error, count)
                if beat:
                    beat.idle = True
                pause_ms = min(_PAUSE_MS << min(count, 16), _PAUSE_MOST_MS)
                while pause_ms > 0:
                    await sleep_ms(min(pause_ms, _PAUSE_PART_MS))
                    pause_ms -= _PAUSE_PART_MS
                if beat:
                    beat()
                    beat.idle = False
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # as an interrupt at the console is, too
            self.fault = name, error
        finally:
            if beat:
                self._supervisor.beats.remove(beat)
            if job:
                job.beat = None
            for at in range(len(self.live) - 1, -1, -1):  # without a new list
                if self.live[at][0] == name:
                    del self.live[at]
