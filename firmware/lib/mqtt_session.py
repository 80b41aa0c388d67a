"""One MQTT connection, from CONNECT to its end: the part of `mqtt` that meets the broker.

Three coroutines share it: one reads, one writes, one keeps time. Only the writer writes, so that a
publisher that is cancelled never leaves half a packet behind. Whatever the broker does wrong ends
the connection with an MqttError.
"""

import asyncio

import mqtt_packet as wire
from aiotcp import const, first, sleep_ms, ticks_diff, ticks_ms
from mqtt_packet import MqttError

TICK_MS = const(500)  # how often the link and the deadlines are looked at
ACKS = const(8)  # PUBACKs waiting to be written; when there are more, reading waits
SMALL = const(256)  # bytes; a payload up to this size leaves in one piece with its head


def _unexpected(kind, size):
    return MqttError("protocol", "unexpected packet 0x%02x of %d bytes" % (kind, size))


class Message:
    """One publish on its way."""

    def __init__(self, topic, payload, flags, pid):
        self.topic = topic
        self.payload = payload
        self.flags = flags
        self.pid = pid  # 0 for QoS 0
        self.session = None  # the one it was last written in
        self.since = 0  # when, ticks
        self.over = asyncio.Event()
        self.error = None

    def end(self, error=None):
        if not self.over.is_set():
            self.error = error
            self.over.set()


class Filter:
    """One subscription; it outlives sessions."""

    def __init__(self, topic):
        self.topic = topic
        self.ask(None)

    def ask(self, qos):
        """To be written (again); qos None: to be unsubscribed from."""
        self.qos = qos
        self.pid = 0  # 0: not written in this session
        self.since = 0
        self.granted = None  # the broker's answer in this session


class Session:
    """A connection of `client`, whose window, filters and buffers it works on.

    news: pulsed at each PINGRESP and SUBACK, set for good when the session has ended.
    """

    def __init__(self, client, stream):
        self._client = client
        self._stream = stream
        self._rx = client.rx
        self._tx = client.tx
        self._acks = []  # packet identifiers
        self._acked = asyncio.Event()  # _acks went out
        self._inside = False  # in the middle of an incoming packet
        self._asked = 0  # PINGREQs wanted, written, answered
        self._pinged = 0
        self._answered = 0
        self._ping_at = 0
        self.ended = False
        self.news = asyncio.Event()

    async def open(self, hello, clean):
        """CONNECT and CONNACK; returns whether the broker kept a session."""
        await self._stream.write(hello)
        kind, size = await self._next()
        if kind != wire.CONNACK or size > 2:
            raise _unexpected(kind, size)
        return wire.check_connack(await self._body(size), clean)

    async def serve(self, leave):
        """Until the event `leave` is set; MqttError or OSError if the connection ends before."""
        try:
            await first(self._read(), self._write(), self._keep(), leave.wait())
            if not self._stream.writing:
                await self._stream.write(bytes((wire.DISCONNECT, 0)))
        finally:
            self.ended = True
            self.news.set()

    async def ping(self):
        """Returns when a PINGREQ of this call was answered; MqttError if the session ends."""
        self._asked += 1
        ours = self._asked
        self._client.work.set()
        while self._answered < ours:
            if self.ended:
                raise MqttError("lost", "the connection ended before the broker answered")
            await self.news.wait()

    # ------------------------------------------------------------ reading

    async def _read(self):
        while True:
            kind, size = await self._next()
            self._inside = True
            if kind & 0xF0 != wire.PUBLISH:
                if size > 3:
                    raise _unexpected(kind, size)
                self._answer(kind, await self._body(size))
            elif size > len(self._rx):
                await self._skip_message(kind, size)
            else:
                self._message(kind, await self._body(size))
            self._inside = False
            while len(self._acks) >= ACKS:
                self._acked.clear()
                await self._acked.wait()

    async def _next(self):
        """(first byte, remaining length) of the next packet (2.2)."""
        self._inside = False
        await self._body(1)
        kind = self._rx[0]
        self._inside = True
        size = shift = 0
        while True:
            byte = (await self._body(1))[0]
            size |= (byte & 127) << shift
            if byte < 128:
                return kind, size
            shift += 7
            if shift > 21:
                raise MqttError("protocol", "a remaining length of more than four bytes")

    async def _body(self, size):
        """The next bytes in the receive buffer; size is at most its length."""
        view = self._rx[:size]
        if not await self._stream.fill(view):
            raise MqttError("lost", "the broker closed the connection")
        return view

    def _message(self, kind, body):
        topic, pid, start = wire.parse_publish(kind & 15, body)
        handler = self._client.on_message
        if handler:
            self._client.call(handler, topic, body[start:], bool(kind & wire.RETAIN))
        self._acknowledge(pid)

    def _acknowledge(self, pid):
        if pid:
            self._acks.append(pid)
            self._client.work.set()

    async def _skip_message(self, kind, size):
        """A message larger than the buffer: read past it; acknowledged, lest it comes for ever."""
        qos = kind >> 1 & 3
        topic_size = wire.get_int(await self._body(2), 0)
        rest = size - 2 - topic_size - (2 if qos else 0)
        if qos > 1 or rest < 0:
            raise MqttError("protocol", "PUBLISH with QoS %d, shorter than its topic" % qos)
        await self._skip(topic_size)
        pid = wire.get_int(await self._body(2), 0) if qos else 0
        await self._skip(rest)
        self._client.oversized += 1
        self._client.say("dropped %d bytes: max_packet is %d" % (size, len(self._rx)))
        self._acknowledge(pid)

    async def _skip(self, size):
        while size:
            part = min(size, len(self._rx))
            await self._body(part)
            size -= part

    def _answer(self, kind, body):
        size = len(body)
        if kind == wire.PUBACK and size == 2:
            # An unknown identifier is no error: its publisher may have given up waiting.
            pid = wire.get_int(body, 0)
            for message in self._client.window:
                if message.pid == pid and message.session is self:
                    message.end()
        elif kind == wire.PINGRESP and size == 0 and self._answered < self._pinged:
            self._answered += 1
            self._ping_at = ticks_ms()
            self._pulse()
        elif (kind == wire.SUBACK and size == 3) or (kind == wire.UNSUBACK and size == 2):
            self._granted(wire.get_int(body, 0), body[2] if size == 3 else None)
        else:
            raise _unexpected(kind, size)

    def _granted(self, pid, code):
        """SUBACK with a return code (3.9.3), UNSUBACK with None."""
        if code is not None and code > 1 and code != wire.REFUSED:
            raise MqttError("protocol", "SUBACK with code %d" % code)
        filters = self._client.filters
        for item in filters:
            if item.pid == pid and item.granted is None:
                if (item.qos is None) != (code is None):
                    raise MqttError("protocol", "SUBACK for UNSUBSCRIBE, or the reverse")
                item.granted = code or 0
                if code is None:
                    filters.remove(item)
                elif code == wire.REFUSED:
                    self._client.say("the broker refuses a subscription to " + item.topic.decode())
                break
        self._pulse()

    def _pulse(self):
        self.news.set()
        self.news.clear()

    # ------------------------------------------------------------ writing

    async def _write(self):
        """Acknowledgements first, then subscriptions, then messages, oldest first."""
        work = self._client.work
        while True:
            if self._acks:
                await self._send(wire.put_ack(self._tx, self._acks[0]))
                self._acks.pop(0)
                self._acked.set()
            elif self._pinged < self._asked:
                self._pinged += 1
                self._ping_at = ticks_ms()
                await self._stream.write(bytes((wire.PINGREQ, 0)))
            elif not (await self._send_filter() or await self._send_message()):
                work.clear()
                await work.wait()

    async def _send(self, size):
        await self._stream.write(self._tx[:size])

    async def _send_filter(self):
        for item in self._client.filters:
            if not item.pid:
                item.pid = self._client.next_pid()
                item.since = ticks_ms()
                await self._send(wire.subscribe(self._tx, item.pid, item.topic, item.qos))
                return True
        return False

    async def _send_message(self):
        for message in self._client.window:
            if message.session is self or message.over.is_set():
                continue
            # DUP (3.3.1.1) only where a first attempt may have reached the broker.
            dup = wire.DUP if message.session and message.pid else 0
            message.session = self
            message.since = ticks_ms()
            payload = message.payload
            size = len(payload)
            flags = message.flags | dup
            head = wire.publish_head(self._tx, flags, message.topic, message.pid, size)
            if size <= SMALL:
                self._tx[head : head + size] = payload
                await self._send(head + size)
            else:
                await self._send(head)
                await self._stream.write(payload)
            if not message.pid:
                message.end()
            return True
        return False

    # ------------------------------------------------------------ keeping time

    async def _keep(self):
        client, stream = self._client, self._stream
        while True:
            await sleep_ms(TICK_MS)
            if client.link and not client.link():
                raise MqttError("link", "the network link is down")
            now = ticks_ms()
            limit = client.reply_ms
            if self._answered < self._pinged and ticks_diff(now, self._ping_at) > limit:
                raise MqttError("timeout", "no answer to PINGREQ")
            if stream.writing and ticks_diff(now, stream.sent) > limit:
                raise MqttError("timeout", "the broker does not read")
            if self._inside and ticks_diff(now, stream.received) > limit:
                raise MqttError("timeout", "the broker stopped in the middle of a packet")
            for message in client.window:
                waits = message.session is self and message.pid and not message.over.is_set()
                if waits and ticks_diff(now, message.since) > limit:
                    raise MqttError("timeout", "no PUBACK")
            for item in client.filters:
                waits = item.pid and item.granted is None
                if waits and ticks_diff(now, item.since) > limit:
                    raise MqttError("timeout", "no SUBACK")
            quiet = max(ticks_diff(now, stream.sent), ticks_diff(now, stream.received))
            if quiet > client.ping_ms and self._asked == self._answered:
                self._asked += 1
                client.work.set()
