"""Time without a clock: ticks, and seconds since boot that do not wrap."""

from aiotcp import const, sleep_ms, ticks_diff, ticks_ms

__all__ = ("Uptime", "const", "sleep_ms", "ticks_diff", "ticks_ms")


class Uptime:
    """Whole seconds since it was made. Ticks wrap after days, so it wants to be asked at least
    once a day.
    """

    def __init__(self):
        self._last = ticks_ms()
        self._rest = 0
        self._seconds = 0

    def seconds(self):
        now = ticks_ms()
        self._rest += ticks_diff(now, self._last)
        self._last = now
        self._seconds += self._rest // 1000
        self._rest %= 1000
        return self._seconds
