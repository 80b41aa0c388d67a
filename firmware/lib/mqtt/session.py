"""The session with a broker: one connection after another, and the state that outlives them.

Three coroutines share a connection: one reads, one writes, one watches the deadlines. Only the
writer writes, so that a publisher that is cancelled never leaves half a packet behind. Any error
of the broker ends the connection with an MqttError.
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

_TICK_MS = const(500)  # how often the link and the deadlines are checked
_REFUSED_TICKS = const(120)  # after which the broker is asked again for what it refused
_STABLE_MS = const(10_000)  # a connection that lasted so long starts the pauses over
_ACKS = const(8)  # PUBACKs waiting to be written; when there are more, reading waits
_TX = const(272)  # bytes, more than the longest topic and 10; larger packets leave in pieces


class Session(Requests):
    """The state that outlives connections, and the work on one connection.

    mqtt.Client adds run(), the handlers, `link`, `reply_ms` and `ping_ms`.
    """

    def __init__(self, max_packet, receive_maximum, held):
        self.max_packet = max_packet
        self.held = self.rx = memoryview(bytearray(held))  # rx is larger for one large packet
        self.tx = memoryview(bytearray(_TX))
        super().__init__()
        self.receive_maximum = receive_maximum  # messages of QoS 1 that may wait for their PUBACK
        self.v5 = None  # mqtt.v5.Mqtt5 of a client of MQTT 5
        self.disconnecting = False
        self.failed = 0  # attempts since a connection that lasted
        self.oversized = self.handler_errors = 0
        self.stream = None  # aiotcp.Stream
        self.start = self.end = 0  # rx[start:end] was received and not yet parsed
        self.kind = self.size = 0  # of the packet whose body starts there
        self.packet_ms = self.since = 0  # a deadline for a packet that has begun, and since when
        self.acks = []  # packet identifiers
        self.topic = None, ""  # of the last message

    # ------------------------------------------------------------ a connection

    async def open(self, packet, clean):
        """CONNECT and CONNACK (3.1, 3.2); returns whether the broker has a session of ours."""
        self.start = self.end = self.packet_ms = 0
        self.rx = self.held
        del self.acks[:]  # the broker sends again what the last connection did not acknowledge
        await self.stream.write(packet)
        while not self.peek():
            await self.read()
            self.kind = self.rx[0]
            if self.kind != _CONNACK:
                raise self.unexpected()
        self.packet_ms = 0
        at, end = self.start, self.start + self.size
        if end > self.end or end < at + 2 or self.rx[at] > 1:
            raise self.unexpected()
        present, code = self.rx[at] == 1, self.rx[at + 1]
        if self.v5:
            self.v5.accept(code, at + 2, end)
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
        """Receives more bytes behind rx[:end]."""
        buf, at, end = self.rx, self.start, self.end
        if at:
            end -= at
            buf[:end] = buf[at : self.end]
            self.start, self.end = 0, end
        if end and not self.packet_ms:
            self.packet_ms = self.reply_ms
            self.since = ticks_ms()
        size = await self.stream.readinto(buf[end:])
        if not size:
            raise MqttError("lost", "the broker closed the connection")
        self.end = end + size

    def peek(self):
        """Whether a whole packet has come: first byte, remaining length (2.2) and body.

        Of a packet that is larger than max_packet only the start of the body has.
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
        whole = at - start + size
        if at + size > self.end and whole <= self.max_packet:
            if whole > len(buf):
                self.enlarge(whole)
            return False
        self.kind, self.size, self.start = buf[start], size, at
        return True

    def enlarge(self, size):
        """Gives the packet that begins at rx[start] a buffer of its own, of just its size. Where
        there is no memory the connection ends, and what is not acknowledged comes again.
        """
        have = self.end - self.start
        larger = memoryview(bytearray(size))
        larger[:have] = self.rx[self.start : self.end]
        self.rx, self.start, self.end = larger, 0, have

    def unexpected(self):
        """The MqttError of a packet that is malformed or out of place."""
        return MqttError("protocol", "packet 0x%02x of %d bytes" % (self.kind, self.size))

    async def recv(self):
        """Receives packets for ever."""
        while True:
            while not self.peek():
                await self.read()
            self.packet_ms = 0
            end = self.start + self.size
            if self.kind & 0xF0 != _PUBLISH:
                self.unpack(end)
            elif end <= self.end:
                self.message(end)
            else:
                if self.on_large or self.v5 or not await self.skip():
                    from mqtt import large

                    await large.recv(self)
                end = self.start
            self.start = end
            if end == self.end and self.rx is not self.held:
                self.rx = self.held
                self.start = self.end = 0
            while len(self.acks) >= _ACKS:
                await self.changed.wait()

    async def skip(self):
        """Drops a PUBLISH that is larger than the buffer, and that nobody wants. Returns False if
        its topic alone is, for mqtt.large to judge.
        """
        buf, kind = self.rx, self.kind
        self.since = ticks_ms()
        self.packet_ms = self.reply_ms
        while self.end - self.start < 2:
            await self.read()
        head = 2 + (buf[self.start] << 8 | buf[self.start + 1]) + (2 if kind & 0x06 else 0)
        if head > self.size or kind & 0x06 > 2:
            raise self.unexpected()
        if head > len(buf):
            return False
        while self.end - self.start < head:
            await self.read()
        stop = wire.parse_publish(buf, kind, self.start, self.start + head)
        if not stop:
            raise self.unexpected()
        self.name(stop)
        pid = buf[stop] << 8 | buf[stop + 1] if kind & 0x06 else 0
        rest = self.size
        while True:
            size = min(rest, self.end - self.start)
            self.start += size
            rest -= size
            if not rest:
                break
            await self.read()
        self.packet_ms = 0
        for item in self.window:
            item.since = ticks_ms()  # the broker could not answer before
        self.oversized += 1
        self.say_often(self.oversized, "dropped a message of %d bytes" % self.size)
        if pid:
            self.acks.append(pid)
            self.work.set()
        return True

    def message(self, end):
        """Handles a PUBLISH whose body is rx[start:end]."""
        buf, kind = self.rx, self.kind
        stop = wire.parse_publish(buf, kind, self.start, end)
        if not stop:
            raise self.unexpected()
        start = stop + 2 if kind & 0x06 else stop
        more = ()
        if self.v5:
            topic, start, more = self.v5.message(stop, start, end)
        else:
            topic = self.name(stop)
        if self.on_message:
            self.call(self.on_message, topic, buf[start:end], bool(kind & 1), *more)
        if kind & 0x06:
            self.acks.append(buf[stop] << 8 | buf[stop + 1])
            self.work.set()

    def name(self, stop):
        """The topic of a PUBLISH, which ends at rx[stop]."""
        data = bytes(self.rx[self.start + 2 : stop])
        if data == self.topic[0]:  # most messages have the topic of the one before
            return self.topic[1]
        if wire.is_topic(data):
            try:
                self.topic = data, str(data, "utf-8")
                return self.topic[1]
            except UnicodeError:
                pass
        raise self.unexpected()

    def unpack(self, end):
        """Handles any other packet: an answer to a Request (3.4, 3.9, 3.11, 3.13)."""
        # In twos: four at a time would make a tuple.
        buf, at = self.rx, self.start
        kind, size = self.kind, self.size
        code = pid = 0
        if end > self.end:
            raise self.unexpected()
        if self.v5:
            code = self.v5.decode(end)
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
        # An unknown identifier is not an error: its publisher may have stopped waiting.

    # ------------------------------------------------------------ writing

    async def write(self):
        """Writes acknowledgements first, then requests not yet written in this session, the oldest
        first.
        """
        acks, tx, work = self.acks, self.tx, self.work
        while True:
            if acks:
                at = 0
                for pid in acks:
                    at = wire.put_ack(tx, at, pid)
                await self.stream.write(tx[:at])
                del acks[: at // 4]
                self.update()
            elif self.disconnecting:
                await self.stream.write(bytes((_DISCONNECT, 0)))
                return
            elif not await self.step():
                work.clear()
                await work.wait()

    async def step(self):
        """Writes the next Request; returns False if none may be written now. One that cannot be
        written ends with the connection, of which it may have spoilt a packet: on the next it
        would do the same.
        """
        in_flight = 0
        for item in self.window:
            if item.session == self.sessions:
                in_flight += item.confirmed
            elif in_flight < self.receive_maximum or not item.confirmed:
                break
        else:
            return False
        try:
            await self.put(item)
        except (OSError, MqttError, MemoryError):
            raise
        except Exception as error:  # a value that cannot be sent
            failure = MqttError("source", repr(error))
            self.done(item, failure)
            raise failure
        return True

    async def put(self, item):
        """Writes a Request."""
        tx, kind = self.tx, item.kind
        topic, payload = item.topic, item.payload
        if item.session and item.confirmed:
            kind |= _DUP  # a first attempt may have reached the broker (3.3.1.1)
        item.session = self.sessions
        properties = item.properties
        if self.v5 and kind & 0xF0 == _PUBLISH:
            topic, properties = self.v5.encode(item)
        if kind == _PINGREQ:
            tx[0], tx[1], at = kind, 0, 2
        else:
            rest = len(properties) + (len(payload) if item.size is None else item.size)
            at = wire.head(tx, kind, topic, item.id, rest, self.v5)
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

    # ------------------------------------------------------------ keeping time

    async def poll(self):
        """Checks the link and the deadlines, and pings a broker that has been silent."""
        stream = self.stream
        lasted = 0
        left = _REFUSED_TICKS
        while True:
            await sleep_ms(_TICK_MS)
            left -= 1
            if not left:
                left = _REFUSED_TICKS
                self.ask_again()
            # Counted: a difference of ticks says nothing after days.
            if lasted < _STABLE_MS:
                lasted += _TICK_MS
                if lasted >= _STABLE_MS:
                    self.failed = 0
            now, limit = ticks_ms(), self.reply_ms
            if self.link and not self.link():
                raise MqttError("link", "the network link is down")
            if stream.writing and ticks_diff(now, stream.sent) > limit:
                raise MqttError("timeout", "the broker does not read")
            if self.packet_ms and ticks_diff(now, self.since) > self.packet_ms:
                raise MqttError("timeout", "the broker stopped in the middle of a packet")
            # While a packet is on its way, in or out, nothing else can be answered.
            waits = not (stream.writing or self.packet_ms)
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
