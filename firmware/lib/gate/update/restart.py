"""Whether now is a good time to restart: the application says so (gate.ready), and an update that
is installed waits for it, over resets too, but not longer than the device's restart_wait_s, nor
than the release says.

Loaded, and then resident, only where the application has such a function.
"""

from gate import console
from gate.clock import const

_FILE = "restart"  # [digest of the image that waits, seconds so far]
_SAVE_S = const(900)  # a reset costs the wait no more than that


class Restart:
    """overdue: whether the time is up, and the application still not ready; limit_s: the release's
    own bound of the wait, or None.
    """

    def __init__(self, ready, most_s, state, uptime):
        """ready() -> bool; most_s() -> seconds it may take; state: SmallFiles of the agent's
        state; uptime: gate.clock.Uptime.
        """
        self._ready = ready
        self._most_s = most_s
        self._state = state
        self._uptime = uptime
        self._digest = None  # of the image that waits
        self._began = 0  # uptime at which it began, as if there had been no reset
        self._saved = 0
        self._failed = False
        self.overdue = False
        self.limit_s = None

    def waits_for(self, digest):
        """Whether this image is the one that waits, or did so before a reset."""
        if self._digest != digest:
            found = self._state.load(_FILE)
            right = isinstance(found, list) and len(found) == 2 and found[0] == digest
            if not right or type(found[1]) is not int:
                return False
            self._digest = digest
            self._saved = found[1]
            self._began = self._uptime.seconds() - self._saved
        return True

    def begin(self, digest):
        """From now on this image waits."""
        self._digest = digest
        self._began = self._uptime.seconds()
        self._save(0)

    def allows(self):
        """Whether the board may restart now; asked every second while an image waits."""
        self.overdue = False
        if self._is_ready():
            return True
        if self._digest is None:
            self.overdue = self.longest_s() == 0
            return self.overdue
        waited = self._uptime.seconds() - self._began
        self.overdue = waited >= self.longest_s()
        if waited >= self._saved + _SAVE_S:
            self._save(waited)
        return self.overdue

    def end(self):
        """The board restarts, or nothing waits any more."""
        self._digest = None
        self._state.remove(_FILE)

    def waited_s(self):
        """Seconds that an image has been waiting, or None."""
        return None if self._digest is None else self._uptime.seconds() - self._began

    def longest_s(self):
        """Seconds that an image waits at most."""
        most = self._most_s()
        return most if self.limit_s is None else min(most, self.limit_s)

    def _is_ready(self):
        try:
            return bool(self._ready())
        except Exception as error:
            if not self._failed:  # once: it is asked every second
                self._failed = True
                console.error("ready: %s: %s", type(error).__name__, error)
            return False

    def _save(self, waited):
        self._saved = waited
        try:
            self._state.store(_FILE, [self._digest, waited])
        except OSError as error:  # then a reset begins the wait anew
            console.error("the wait for the application could not be stored: %r", error)
