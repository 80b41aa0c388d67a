"""The watchdog is fed only while every task makes progress within its own limit."""

from gate import console
from gate.clock import const, sleep_ms, ticks_diff, ticks_ms

_ROUND_MS = const(1000)
_PAUSE_MS = const(1000)  # twice this before a task that raised begins again, doubled each time
_PAUSE_MOST_MS = const(300_000)
_LASTED_MS = const(600_000)  # a task that ran so long starts the pauses over


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


async def keep_going(run, beat, failed, name):
    """Runs a task until it ends: the coroutine function `run`, called with its Beat if it has one.
    When it raises, failed(name, error, how often in a row) is called, which may raise to end it,
    and it begins again after a pause that grows.
    """
    count = 0
    while True:
        began = ticks_ms()
        try:
            return await (run(beat) if beat else run())
        except Exception as error:
            # Ticks wrap around in days; a difference below 0 is such a long time.
            if not 0 <= ticks_diff(ticks_ms(), began) < _LASTED_MS:
                count = 0
            count += 1
            failed(name, error, count)
        if beat:
            beat.idle = True
        pause_ms = min(_PAUSE_MS << min(count, 16), _PAUSE_MOST_MS)
        while pause_ms > 0:
            await sleep_ms(min(pause_ms, _ROUND_MS))
            pause_ms -= _ROUND_MS
        if beat:
            beat()
            beat.idle = False


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

    async def run(self):
        """Starts the watchdog and feeds it while all is well."""
        self._watchdog.start()
        said = False
        while True:
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
