"""Telemetry: sources are sampled at their stream's period, kept in a bounded ring, and sent as
SenML packs.

A sample leaves the ring when the broker has acknowledged its pack. When the ring is full the
oldest sample goes, and is counted. Nothing here needs a clock: a pack says how many seconds ago
each sample was taken (RFC 8428 section 4.5.3).
"""

import asyncio

import senml
from mqtt import MqttError

from tidegate import alarms, console
from tidegate.clock import const

RING = const(96)  # samples of all streams together
_BATCH = const(8)  # samples a pack, at most
_RECORDS = const(64)  # records a pack, at most
_PUBLISH_S = const(20)
_DROP_REPORT_S = const(60)  # between two alarms about dropped samples


class Stream:
    """A set of values sampled together and published under up/tele/<name>.

    sources: (name, unit, function) each; function() -> int, float, str or bool, or None for no
    value now. period_s: seconds, or None for the device's telemetry_period_s.
    """

    def __init__(self, name, *sources, period_s=None):
        self.name = name
        self.sources = sources
        self.period_s = period_s
        self.due_s = 0  # uptime of the next sample


class Telemetry:
    """Samples and sends all streams. dropped: samples lost for want of room; failures: values a
    source did not give.
    """

    def __init__(self, device, streams, period_s, link, alarms_, uptime):
        self._base = "urn:dev:org:tidegate:%s:" % device
        self._streams = streams
        for stream in streams:
            stream.period_s = stream.period_s or period_s
        self._link = link
        self._alarms = alarms_
        self._uptime = uptime
        self._ring = [None] * RING  # (stream, uptime in seconds, values) or None
        self._head = 0  # index of the oldest
        self._count = 0
        self._work = asyncio.Event()
        self._said = 0  # drops that an alarm has told of
        self._said_at = -_DROP_REPORT_S
        self.dropped = 0
        self.failures = 0

    async def sample(self, beat):
        """The task that samples."""
        while True:
            now = self._uptime.seconds()
            wait = 60
            for stream in self._streams:
                if now >= stream.due_s:
                    # From now, not from the last due time: after a long block nobody wants a
                    # burst.
                    stream.due_s = now + stream.period_s
                    self._add(stream, now, [self._value(source) for source in stream.sources])
                wait = min(wait, stream.due_s - now)
            await beat.sleep(max(1, wait))

    async def send(self, beat):
        """The task that sends what is in the ring, oldest first."""
        while True:
            await beat.wait(self._work)
            while self._count:
                beat()
                if not self._link.connected:
                    await beat.sleep(1)
                    continue
                stream, count, payload = self._pack()
                before = self.dropped
                try:
                    await self._link.publish(
                        "tele/" + stream.name, payload, qos=1, timeout_s=_PUBLISH_S
                    )
                except MqttError:
                    await beat.sleep(1)
                    continue
                # What was dropped meanwhile were the oldest, so part of what has just arrived.
                self._remove(max(0, count - (self.dropped - before)))
                self._tell_drops()

    def _value(self, source):
        try:
            return source[2]()
        except Exception as error:
            self.failures += 1
            console.debug("source %s: %s: %s", source[0], type(error).__name__, error)
            return None

    def _add(self, stream, now, values):
        if all(value is None for value in values):
            return
        if self._count == len(self._ring):
            self._remove(1)
            self.dropped += 1
        self._ring[(self._head + self._count) % len(self._ring)] = (stream, now, values)
        self._count += 1
        self._work.set()

    def _remove(self, count):
        for _ in range(count):
            self._ring[self._head] = None
            self._head = (self._head + 1) % len(self._ring)
            self._count -= 1

    def _pack(self):
        """(stream, samples, payload): the oldest samples, as far as they are of one stream."""
        stream = self._ring[self._head][0]
        now = self._uptime.seconds()
        pack = senml.Pack(self._base)
        count = 0
        most = min(self._count, _BATCH, max(1, _RECORDS // len(stream.sources)))
        while count < most:
            owner, taken, values = self._ring[(self._head + count) % len(self._ring)]
            if owner is not stream:
                break
            age = now - taken
            for source, value in zip(stream.sources, values):
                if value is not None:
                    pack.add(source[0], value, source[1], -age if age else None)
            count += 1
        return stream, count, pack.encode()

    def _tell_drops(self):
        now = self._uptime.seconds()
        if self.dropped > self._said and now - self._said_at >= _DROP_REPORT_S:
            lost = self.dropped - self._said
            self._said, self._said_at = self.dropped, now
            self._alarms.raise_(alarms.TELEMETRY_DROPPED, "ring-full", "%d samples lost" % lost)
