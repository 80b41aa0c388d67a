"""The watchdog is fed only while every task makes progress within its own limit."""

from gate import console
from gate.clock import const, sleep_ms, ticks_diff, ticks_ms

_ROUND_MS = const(1000)


class Beat:
    """One task's pulse. Calling it says: I made progress. While it pauses after an error (idle) it
    owes none. last: when it last did, ticks.
    """

    def __init__(self, name, limit_s):
        self.name = name
        self.limit_s = limit_s
        self.last = ticks_ms()
        self.idle = False

    def __call__(self):
        self.last = ticks_ms()

    def late_s(self):
        """Seconds past the limit, 0 or less while all is well."""
        if self.idle:
            return 0
        return ticks_diff(ticks_ms(), self.last) // 1000 - self.limit_s

    async def sleep(self, seconds):
        """Sleeps, checking in every second."""
        left = int(seconds * 1000)
        while True:
            self()
            await sleep_ms(min(left, _ROUND_MS))
            left -= _ROUND_MS
            if left <= 0:
                break
        self()


class Supervisor:
    """Feeds the watchdog for the whole agent."""

    def __init__(self, watchdog, poll, stuck=None):
        """poll() is called every second. stuck(name, seconds) is called once when a task is found
        to make no progress, before the watchdog bites. beats: of all tasks.
        """
        self._watchdog = watchdog
        self._poll = poll
        self._stuck = stuck
        self.beats = []

    def task(self, name, limit_s):
        """A new task's Beat: it must be called at least every limit_s seconds."""
        beat = Beat(name, limit_s)
        self.beats.append(beat)
        return beat

    def late(self):
        """The first task past its limit, or None."""
        for beat in self.beats:
            if beat.late_s() > 0:
                return beat
        return None

    async def run(self, tasks=None):
        """Starts the watchdog and feeds it while all is well; ends when one of the
        gate.tasks.Tasks has a fault.
        """
        self._watchdog.start()
        said = False
        while not (tasks and tasks.fault):
            beat = self.late()
            if beat is None:
                self._watchdog.feed()
            elif not said:
                said = True
                console.error("task %s made no progress for %d s; reset", beat.name, beat.limit_s)
                if self._stuck:
                    self._stuck(beat.name, beat.limit_s)
            try:
                self._poll()
            except Exception as error:  # the watchdog is fed all the same
                console.debug("poll: %r", error)
            await sleep_ms(_ROUND_MS)
