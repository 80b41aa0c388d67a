"""What comes down, before anybody judges it: commands, offers, trust stores and data alike.

Anybody who can publish below down/ can send as much as the network carries, and judging a message
costs a signature. While all is calm every message goes on to who judges it. Too many of one kind
within a minute are a flood, which gate.trust.flood sifts: then only what has a chance of being
genuine is judged at all, and of that only as much as leaves the board to its other work.
"""

from gate import ondemand
from gate.clock import const, ticks_diff, ticks_ms
from gate.reporting import alarms as kinds

_WINDOW_S = const(60)
_GARBAGE = const(
    16384
)  # bytes between two collections in a flood: they are what most messages cost
_FLOOD = "strangers"  # the alarm's reason


_shared = []  # gate.trust.flood.Flood, and once more for each flood, while there are any


class Intake:
    """The messages of one kind: "cmd", "trust", "offer", "offer/<component>". flood: the
    gate.trust.flood.Flood, or None while all is calm.
    """

    # What is not there costs no RAM.
    live = flood = _missed = None
    arrived = None  # a Job: in a flood, something waits
    _count = _since = _began = 0

    def __init__(self, kind, device, uptime, alarms, go_on, most, live=None, missed=None):
        """device: gate.device.Device; go_on(data): takes a message (bytes) while all is calm;
        most: messages within a minute that are no flood yet; live: what gate.trust.flood needs to
        know of commands; missed(), or None: has what is genuine sent again, as it may have been
        among what a flood lost.
        """
        self.kind = kind
        self.device = device
        self.go_on = go_on
        self._uptime = uptime
        self._alarms = alarms
        self._most = most
        if live:
            self.live = live
        if missed:
            self._missed = missed

    def push(self, data):
        """Takes a message (bytes-like) from the network, valid until this returns. Cheap."""
        flood = self.flood
        if not flood:
            self.count()
            self.go_on(bytes(data))
        elif flood.sift(data):
            self.arrived.set()

    def count(self):
        """One more message; too many begin a flood, which counts for itself."""
        if self.flood:
            return
        now = self._uptime.seconds()
        if now - self._since >= _WINDOW_S:
            self._since, self._count = now, 0
        self._count += 1
        if self._count >= self._most:
            self._since, self._count = now, 0
            self.say("%d messages within a minute; what comes is sifted" % self._most)
            self._begin()

    def _begin(self):
        try:
            with ondemand.modules:
                if not _shared:  # floods of several kinds need the code once
                    from gate.trust.flood import Flood

                    _shared.append(Flood)
                flood = _shared[0](self)
                if self.flood:
                    _shared.pop()
                self.flood = flood
                _shared.append(_shared[0])  # once more for each that goes on
                ondemand.modules.make_garbage(_GARBAGE)
        except MemoryError:  # the next one tries again
            if len(_shared) == 1:
                _shared.clear()

    def keys_changed(self):
        """Ids of keys may be others now, and what was refused may be genuine."""
        if self.flood:
            self._begin()

    def poll(self):
        """To be called every second or so: a flood ends after a minute with few messages."""
        flood = self.flood
        now = self._uptime.seconds()
        if flood and now - self._since >= _WINDOW_S:
            self._since = now
            if flood.lost >= self._most:
                self.say("%d messages of a minute were dropped" % flood.lost)
            else:
                self.flood = None
                _shared.pop()
                if len(_shared) == 1:
                    _shared.clear()
                    ondemand.modules.make_garbage()
                for data in flood.left():
                    self.go_on(data)
            flood.lost = 0
            if self._missed:
                self._missed()

    def take(self):
        """The next message of a flood, bytes, or None."""
        self._began = ticks_ms()
        return self.flood.take() if self.flood else None

    async def judged(self, data, beat):
        """A message of a flood was nobody's: waits, so that judging costs a part of the time."""
        took = ticks_diff(ticks_ms(), self._began)
        await beat.sleep(self.flood.refused(data, took) / 1000 if self.flood else 0)

    def say(self, detail):
        kind = kinds.DATA_REFUSED
        if self.kind == "cmd":
            kind = kinds.COMMANDS_PAUSED
        elif self.kind == "trust":
            kind = kinds.TRUST_REFUSED
        elif self.kind == "offer":
            kind = kinds.OFFER_REFUSED
        self._alarms.raise_(kind, _FLOOD, detail)
