"""Telemetry: samples the streams, makes a SenML pack of each window, and sends the packs in order;
while the link is away they are stored in a ring on flash.

A pack leaves its place when the broker has acknowledged it. It waits in one buffer in RAM; from
there it goes to the ring, with all others there in one write, when the link is away for a while or
the buffer is full. Nothing here needs a clock: a pack says how many seconds ago its window ended
(RFC 8428 section 4.5.3), counted in the board's time of operation, which goes on after a reset
where the newest stored record left off.
"""

import struct

import senml_cbor

from gate import LinkError, console
from gate.clock import const, sleep_ms, ticks_diff, ticks_ms
from gate.reporting import alarms
from gate.tasks import Job
from gate.telemetry import ring

_QUEUE = const(640)  # bytes of packs in RAM
_PACK = const(512)  # bytes of the pack being sent, base fields and all
_PUBLISH_S = const(20)
_DROP_REPORT_S = const(60)  # between two alarms about dropped packs
_ROUND_MS = const(1000)

# A record's content: number, records, end of the first, its fields, characters of the stream's
# name; then the SenML records without base fields, then the name.
_CONTENT = "<IBHBB"
_CONTENT_SIZE = const(9)

# Private fields of a pack's first record (docs/wire.cddl): its number, which it keeps when it is
# sent again, and the stream's packs lost since the start.
_NUMBER = const(-257)
_DROPPED = const(-258)


class Telemetry:
    """All streams of a device. used: bytes of packs that wait in RAM; ring: those on flash."""

    def __init__(self, device, streams, link, alarms_, uptime, store, number, write_s=30):
        """streams: streams.Stream each, their periods set; store: ring.Ring; number: of the first
        pack, below 2**30, unlike any that was used lately: by chance; write_s: seconds that packs
        wait in RAM at most while the link is away.
        """
        self._streams = streams
        for kind in range(len(streams)):
            streams[kind].start(kind)
        self._link = link
        self._alarms = alarms_
        self._uptime = uptime
        self.ring = store
        self._number = number
        self._write_s = write_s
        self._began = store.last  # time of operation when this boot began, s
        self._pack = senml_cbor.Pack("urn:dev:org:tidegate:%s:" % device, None, bytearray(_PACK))
        self._queue = bytearray(_QUEUE)
        self.used = 0  # bytes of it
        self._gone = 0  # packs that left the queue at its old end
        self._polled = ticks_ms()
        self.work = Job()  # of sending
        self._said_at = -_DROP_REPORT_S
        if store:
            self.work.set()

    def counts(self):
        """Packs lost for want of room, ever, and values that sources did not give, since the
        start.
        """
        failures = sum(stream.failures for stream in self._streams)
        return {"packs_dropped": self.ring.dropped, "source_failures": failures}

    # ------------------------------------------------------------ sampling

    async def sample(self, beat):
        """The task that samples."""
        while True:
            beat()
            await sleep_ms(self.poll(ticks_ms()))

    def poll(self, now):
        """Samples what is due at ticks `now`; milliseconds until it wants to be called again."""
        passed = ticks_diff(now, self._polled)
        self._polled = now
        wait = _ROUND_MS
        for stream in self._streams:
            due = stream.due_ms - passed
            if due <= 0:
                if stream.sample(now):
                    self._close(stream)
                due += stream.period_ms
                if due <= 0:  # after a long block nobody wants a burst
                    due = stream.period_ms
            stream.due_ms = due
            if due < wait:
                wait = due
        return wait

    def _close(self, stream):
        """The window's end: its pack into the queue."""
        try:
            while not self._encode(stream):
                if not self.used:
                    console.error("stream %s: a pack is too large", stream.name)
                    break
                if not self._make_room(stream):
                    break
        except MemoryError:  # of the moment; the next window may have it
            self.ring.count(stream.kind)
        stream.clear()

    def _encode(self, stream):
        """Whether there was room for the pack; one without records needs none."""
        pack, queue, name = self._pack, self._queue, stream.name
        at = self.used + ring.OVERHEAD
        begin = at + _CONTENT_SIZE
        end = min(len(queue), begin + _PACK - 2 * pack.gap) - len(name)
        if begin >= end:
            return False
        pack.begin(queue, begin, end)
        try:
            stream.tell(pack)
        except senml_cbor.SenmlError:
            return False
        if not pack.count:
            return True
        first = pack.first - begin
        self._number = number = (self._number + 1) & 0x3FFFFFFF
        struct.pack_into(_CONTENT, queue, at, number, pack.count, first, pack.fields, len(name))
        end = pack.writer.at
        for char in name:
            queue[end] = ord(char)
            end += 1
        size = end - at
        self.used = ring.frame(queue, self.used, size, stream.kind, self.now())
        self.work.set()
        return True

    def now(self):
        """Seconds of operation, over all resets."""
        return self._began + self._uptime.seconds()

    # ------------------------------------------------------------ keeping

    def keep(self):
        """Writes to flash what waits in RAM, in one go; whether nothing waits any more."""
        try:
            if self.used and self.ring.write(self._queue, self.used):
                console.debug("telemetry: %d bytes kept", self.used)
                self.used = 0
        except (OSError, MemoryError) as error:
            console.debug("telemetry could not be stored: %r", error)
        return not self.used

    def _make_room(self, stream):
        """Whether there is room now; if not, the stream's pack is lost, and counted."""
        if self.keep():
            return True
        if self.ring.newest:
            self.ring.count(stream.kind)
            return False
        self.ring.count(ring.first(self._queue)[1])
        self._remove()
        return True

    def _remove(self):
        """The oldest pack leaves the queue."""
        queue = self._queue
        size = ring.OVERHEAD + ring.first(queue)[0]
        queue[: self.used - size] = queue[size : self.used]
        self.used -= size
        self._gone += 1

    # ------------------------------------------------------------ sending

    async def send(self, beat):
        """The task of `work`: sends all that there is, oldest first."""
        waited = 0
        while self.used or self.ring:
            beat()
            try:
                if not self._link.connected:
                    waited += 1
                    if waited > self._write_s:
                        waited = 0
                        self.keep()
                    await beat.sleep(1)
                    continue
                waited = 0
                await self._send_oldest()
                self._tell_drops()
            except (LinkError, OSError, MemoryError) as error:
                console.debug("telemetry: %r", error)
                await beat.sleep(1)

    async def _send_oldest(self):
        buf, at = self._pack.buf, self._pack.gap - _CONTENT_SIZE
        found = self.ring.read(buf, at)
        if not found:
            if not self.used:
                return
            found = ring.first(self._queue)
            begin = ring.OVERHEAD
            buf[at : at + found[0]] = self._queue[begin : begin + found[0]]
        serial = self._gone + self.ring.removed
        name, payload = self._finish(at, found)
        await self._link.publish("tele/" + name, payload, qos=1, timeout_s=_PUBLISH_S)
        # Meanwhile it may have moved to the ring, or been dropped.
        if serial == self._gone + self.ring.removed:
            if self.ring:
                self.ring.done()
            else:
                self._remove()

    def _finish(self, at, found):
        """(stream's name, payload) of the record's content at buf[at:]."""
        size, kind, stamp = found
        pack = self._pack
        number, count, first, fields, letters = struct.unpack_from(_CONTENT, pack.buf, at)
        size -= _CONTENT_SIZE + letters
        end = pack.gap + size
        name = str(pack.buf[end : end + letters], "utf-8")
        pack.resume(size, count, first, fields)
        age = self.now() - stamp
        pack.base_time = -age if age > 0 else None
        lost = self.ring.lost.get(kind)
        extra = ((_NUMBER, number), (_DROPPED, lost)) if lost else ((_NUMBER, number),)
        return name, pack.finish(extra)

    def _tell_drops(self):
        store = self.ring
        now = self._uptime.seconds()
        if store.dropped > store.reported and now - self._said_at >= _DROP_REPORT_S:
            lost = store.dropped - store.reported
            store.reported, self._said_at = store.dropped, now
            self._alarms.raise_(alarms.TELEMETRY_DROPPED, "ring-full", "%d packs lost" % lost)
            store.save()
