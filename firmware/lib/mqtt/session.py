"""The part of `mqtt` that meets the broker: one connection after another, and what outlives them.

Three coroutines share a connection: one reads, one writes, one keeps time. Only the writer writes,
so that a publisher that is cancelled never leaves half a packet behind. Whatever the broker does
wrong ends the connection with an MqttError.
"""

from aiotcp import const, sleep_ms, ticks_diff, ticks_ms

from mqtt import packet as wire
from mqtt.packet import MqttError
from mqtt.requests import Request, Requests

_CONNACK = const(0x20)
_PUBLISH = const(0x30)
_PUBACK = const(0x40)
_SUBACK = const(0x90)
_UNSUBACK = const(0xB0)
_PINGREQ = const(0xC0)
_PINGRESP = const(0xD0)
_DISCONNECT = const(0xE0)
_DUP = const(0x08)

_TICK_MS = const(500)  # how often the link and the deadlines are looked at
_ACKS = const(8)  # PUBACKs waiting to be written; when there are more, reading waits
_TX = const(272)  # bytes, more than the longest topic and 10; what is larger leaves in pieces


class Session(Requests):
    """What outlives connections, and the work on it while there is one.

    The owner adds run(), the handlers, `link`, `reply_ms` and `ping_ms`; see mqtt.Client.
    """

    def __init__(self, max_packet, most):
        self.rx = memoryview(bytearray(max_packet))
        self.tx = memoryview(bytearray(_TX))
        super().__init__()
        self.most = most  # messages of QoS 1 that wait for their PUBACK, at most
        self.five = None  # mqtt.v5.Five, if that is spoken
        self.leaving = False
        self.oversized = self.handler_errors = 0
        self.stream = None  # aiotcp.Stream
        self.start = self.end = 0  # what was received and not yet looked at: rx[at:end]
        self.kind = self.size = 0  # of the packet whose body starts there
        self.patience = self.since = 0  # ms for a packet of which a part has come, and since when
        self.acks = []  # packet identifiers

    # ------------------------------------------------------------ a connection

    async def open(self, hello, clean):
        """CONNECT and CONNACK (3.1, 3.2); returns whether the broker kept a session."""
        self.start = self.end = self.patience = 0
        del self.acks[:]  # the broker asks again for what the last connection did not acknowledge
        await self.stream.write(hello)
        while not self.peek():
            await self.read()
            self.kind = self.rx[0]
            if self.kind != _CONNACK:
                raise self.unexpected()
        self.patience = 0
        at, end = self.start, self.start + self.size
        if end > self.end or end < at + 2 or self.rx[at] > 1:
            raise self.unexpected()
        present, code = self.rx[at] == 1, self.rx[at + 1]
        if self.five:
            self.five.accept(code, at + 2, end)
        elif self.size > 2 or code > 5:
            raise self.unexpected()
        elif code:
            from mqtt.reasons import refused

            raise refused(code)
        if present and clean:
            raise self.unexpected()  # 3.2.2.2
        self.start = end
        return present

    # ------------------------------------------------------------ reading

    async def read(self):
        """Receives some more behind what is there."""
        buf, at, end = self.rx, self.start, self.end
        if at:
            end -= at
            buf[:end] = buf[at : self.end]
            self.start, self.end = 0, end
        if end and not self.patience:
            self.patience = self.reply_ms
            self.since = ticks_ms()
        size = await self.stream.readinto(buf[end:])
        if not size:
            raise MqttError("lost", "the broker closed the connection")
        self.end = end + size

    def peek(self):
        """Whether a packet is there: its first byte, its remaining length (2.2), and its body.

        Of a packet that is larger than the buffer there is only the start of the body.
        """
        buf, start = self.rx, self.start
        at = start + 1
        size = shift = 0
        byte = 128
        while byte > 127:
            if at >= self.end:
                return False
            if shift > 21:
                raise self.unexpected()
            byte = buf[at]
            size |= (byte & 127) << shift
            shift += 7
            at += 1
        if at + size > self.end and at - start + size <= len(buf):
            return False
        self.kind, self.size, self.start = buf[start], size, at
        return True

    def unexpected(self):
        """The MqttError of a packet that is malformed, or has no place here."""
        return MqttError("protocol", "packet 0x%02x of %d bytes" % (self.kind, self.size))

    async def recv(self):
        """Takes packets for ever."""
        while True:
            while not self.peek():
                await self.read()
            self.patience = 0
            end = self.start + self.size
            if self.kind & 0xF0 != _PUBLISH:
                self.unpack(end)
            elif end <= self.end:
                self.message(end)
            else:
                from mqtt import large

                await large.recv(self)
                end = self.start
            self.start = end
            while len(self.acks) >= _ACKS:
                await self.news.wait()

    def message(self, end):
        """The body of a PUBLISH is at rx[at:end]."""
        buf, kind = self.rx, self.kind
        stop = wire.parse_publish(buf, kind, self.start, end)
        if not stop:
            raise self.unexpected()
        start = stop + 2 if kind & 0x06 else stop
        more = ()
        if self.five:
            topic, start, more = self.five.message(stop, start, end)
        else:
            topic = self.name(stop)
        if self.on_message:
            self.call(self.on_message, topic, buf[start:end], bool(kind & 1), *more)
        if kind & 0x06:
            self.acks.append(buf[stop] << 8 | buf[stop + 1])
            self.work.set()

    def name(self, stop):
        """The topic of the PUBLISH at rx[at:stop]."""
        topic = self.rx[self.start + 2 : stop]
        if wire.is_topic(topic):
            try:
                return str(topic, "utf-8")
            except UnicodeError:
                pass
        raise self.unexpected()

    def unpack(self, end):
        """Everything but PUBLISH answers a Request (3.4, 3.9, 3.11, 3.13)."""
        # In twos: four at a time would make a tuple.
        buf, at = self.rx, self.start
        kind, size = self.kind, self.size
        code = pid = 0
        if end > self.end:
            raise self.unexpected()
        if self.five:
            code = self.five.decode(end)
        elif kind == _SUBACK and size == 3:
            code = buf[at + 2]
        elif size != (2 if kind in (_PUBACK, _UNSUBACK) else 0 if kind == _PINGRESP else None):
            raise self.unexpected()
        if size:
            pid = buf[at] << 8 | buf[at + 1]
        if kind == _SUBACK and 1 < code < 128:
            raise self.unexpected()
        if not self.match(kind, pid, code) and not pid:
            raise self.unexpected()
        # An unknown identifier is no error: its publisher may have given up waiting.

    # ------------------------------------------------------------ writing

    async def write(self):
        """Acknowledgements first, then what has not been written in this session, oldest first."""
        acks, tx, work = self.acks, self.tx, self.work
        while True:
            if acks:
                at = 0
                for pid in acks:
                    at = wire.put_ack(tx, at, pid)
                await self.stream.write(tx[:at])
                del acks[: at // 4]
                self.update()
            elif self.leaving:
                await self.stream.write(bytes((_DISCONNECT, 0)))
                return
            elif not await self.step():
                work.clear()
                await work.wait()

    async def step(self):
        """Writes the next Request; returns False if there is none that may be written now."""
        flying = 0
        for item in self.window:
            if item.session == self.sessions:
                flying += item.confirmed
            elif flying < self.most or not item.confirmed:
                break
        else:
            return False
        tx, kind = self.tx, item.kind
        topic, payload = item.topic, item.payload
        if item.session and item.confirmed:
            kind |= _DUP  # a first attempt may have reached the broker (3.3.1.1)
        item.session = self.sessions
        properties = item.properties
        if self.five and kind & 0xF0 == _PUBLISH:
            topic, properties = self.five.encode(item)
        if kind == _PINGREQ:
            tx[0], tx[1], at = kind, 0, 2
        else:
            rest = len(properties) + (len(payload) if item.size is None else item.size)
            at = wire.head(tx, kind, topic, item.id, rest, self.five)
        if item.size is None:
            for part in (properties, payload):
                size = min(len(part), len(tx) - at)
                tx[at : at + size] = part[:size]
                at += size
                if size < len(part):
                    await self.stream.write(tx[:at])
                    await self.stream.write(memoryview(part)[size:])
                    at = 0
        else:
            from mqtt import large

            await large.send(self, item, properties, at)
            at = 0
        if at:
            await self.stream.write(tx[:at])
        item.since = ticks_ms()
        if kind & 0xF6 == _PUBLISH:  # QoS 0
            self.done(item, 0)
        return True

    # ------------------------------------------------------------ keeping time

    async def poll(self):
        """Looks at the link and the deadlines, and sees to it that a quiet broker is asked."""
        stream = self.stream
        while True:
            await sleep_ms(_TICK_MS)
            now, limit = ticks_ms(), self.reply_ms
            if self.link and not self.link():
                raise MqttError("link", "the network link is down")
            if stream.writing and ticks_diff(now, stream.sent) > limit:
                raise MqttError("timeout", "the broker does not read")
            if self.patience and ticks_diff(now, self.since) > self.patience:
                raise MqttError("timeout", "the broker stopped in the middle of a packet")
            # While a packet is on its way, in or out, nothing else can be answered.
            waits = not (stream.writing or self.patience)
            pinging = False
            for item in self.window:
                pinging = pinging or item.kind == _PINGREQ
                late = item.session == self.sessions and ticks_diff(now, item.since) > limit
                if waits and late:
                    raise MqttError("timeout", "no answer to packet 0x%02x" % item.kind)
            quiet = max(ticks_diff(now, stream.sent), ticks_diff(now, stream.received))
            if quiet > self.ping_ms and not pinging:
                self.window.append(Request(_PINGREQ))
                self.work.set()
