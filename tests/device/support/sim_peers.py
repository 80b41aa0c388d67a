"""The simulated gateway with the real MQTT and HTTP clients: only sockets are simulated, by peers in this process.

A peer is a function of what the client wrote; what it says comes as bytes, pauses (ms of simulated time) and ends.
"""

# ruff: noqa: I001 - sim_gateway replaces the clock before any of the clients is imported
import asyncio

import sim_gateway
import cbor
import mqtt as mqtt_module
from gate import agent as agent_module
from gate import compose as compose_module
from gate.link.mqtt import Link
from gate.telemetry.streams import Measure, Stream
from http_client import get as http_client_get
from sim_board import Stopped

_real_get = http_client_get.get
_real_link = compose_module._link


def now():
    return sim_gateway._now[0]


class Clock:
    """Time for real clients: it stands while anything goes on, then jumps to whoever wakes up first."""

    QUIET = 8  # turns of the event loop in which nobody woke up, so that what follows from one event is over

    def start(self):
        """To be called before each boot: the event loop is a new one."""
        self._due = []
        self._running = False
        sim_gateway._sleeper[0] = self.sleep

    async def sleep(self, ms):
        if not self._running:
            self._running = True
            asyncio.create_task(self._run())
        if ms <= 0:
            return await asyncio.sleep(0)
        event = asyncio.Event()
        entry = (now() + ms, event)
        self._due.append(entry)
        try:
            await event.wait()
        finally:
            if entry in self._due:
                self._due.remove(entry)

    async def _run(self):
        while True:
            for _ in range(self.QUIET):
                await asyncio.sleep(0)
            if self._due:
                sim_gateway._now[0] = max(now(), min([until for until, _ in self._due]))
            for until, event in list(self._due):
                if until <= now():
                    event.set()


clock = Clock()


class Wire:
    """A connection, as aiotcp.Stream: what the peer says is a list of bytes, of pauses in ms, or an iterator."""

    handshake = None
    writing = False

    def __init__(self, peer):
        self._peer = peer  # peer(wire, data): the client wrote this
        self._said = []
        self._left = None
        self.closed = False
        self._news = asyncio.Event()
        self.received = self.sent = now()

    def say(self, *parts):
        self._said.append(iter(parts[0] if len(parts) == 1 and not isinstance(parts[0], (bytes, int)) else parts))

        self._news.set()

    def end(self):
        self.closed = True
        self._news.set()

    async def write(self, data):
        if self.closed:
            raise OSError(32)
        self.sent = now()
        self._peer(self, bytes(data))

    async def readinto(self, buf):
        while True:
            if not self._left:
                part = self._next()
                if part is None:
                    if self.closed:
                        return 0
                    self._news.clear()
                    await self._news.wait()
                    continue
                if isinstance(part, int):
                    await clock.sleep(part)
                    continue
                self._left = memoryview(part)
            size = min(len(buf), len(self._left))
            buf[:size] = self._left[:size]
            self._left = self._left[size:]
            self.received = now()
            return size

    def _next(self):
        while self._said:
            try:
                return next(self._said[0])
            except StopIteration:
                self._said.pop(0)
        return None

    async def close(self):
        self.closed = True


class World(sim_gateway.World):
    """server: function(host, port, request text) -> parts of the answer, after which the connection ends, or None
    for the right one. broker: a Broker, or None for the simulated link.
    """

    def __init__(self, broker=None):
        super().__init__()
        self.server = None
        self.broker = broker
        self.requests = []
        self.sampled = [0]

    def boot(self, most_ms=sim_gateway.MOST_MS):
        clock.start()
        try:
            return super().boot(most_ms)
        finally:
            sim_gateway._sleeper[0] = None

    def _launch(self, boot):
        agent_module.Agent, whole = self._agent, agent_module.Agent
        try:
            super()._launch(boot)
        finally:
            agent_module.Agent = whole

    def _agent(self, boot, streams, health, data=None, ready=None):
        """The Agent, with one stream of telemetry, the real HTTP client, and the real link if there is a broker."""

        def sample():
            self.sampled[0] += 1
            return self.sampled[0]

        stream = Stream("env", Measure("n", "Cel", sample), period_s=10)
        http_client_get.get = _real_get
        http_client_get.connect = self._to_server
        if self.broker:
            self.broker.world = self
            compose_module._link = self._real
            mqtt_module.connect = self._to_broker
        self._over = asyncio.Event()
        agent = agent_module._Agent(boot, (stream,), health, data=data)
        whole = agent._main
        agent._main = lambda: self._watched(whole)
        return agent

    async def _watched(self, main):
        await asyncio.gather(main(), self._end())

    async def _end(self):
        """What the test stops at may be seen deep inside the client: it ends here, from outside."""
        await self._over.wait()
        raise self.board.down

    def _stopped(self, what, *args):
        try:
            what(*args)
        except Stopped:
            self._over.set()

    def _too_long(self):
        self._stopped(super()._too_long)

    def _real(self, config, board, ssl):
        self.link = Link(config, board, ssl)
        return self.link

    async def _to_broker(self, host, port, timeout, ssl=None):
        return self.broker.connection()

    async def _to_server(self, host, port, timeout, ssl=None):
        if not self.online:
            raise OSError(113)
        request = []

        def peer(wire, data):
            request.append(data)
            text = b"".join(request)
            if text.endswith(b"\r\n\r\n"):
                text = text.decode()
                self.requests.append((host, port, text))
                said = self.server(host, port, text) if self.server else None
                wire.say(*(self.right(text) if said is None else (said,)))
                wire.end()

        return Wire(peer)

    def right(self, text):
        """The parts of what a good server answers."""
        path, start = asked(text)
        self.fetches.append((path, start))
        data = self.payloads.get(path)
        if data is None:
            return (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",)
        return (head(data, start), data[start:])

    def hear(self, topic, payload):
        if topic.startswith("tele/"):
            self.heard.append((topic, now()))
        else:
            self._stopped(super().hear, topic, payload)

    def telemetry(self):
        return [when for topic, when in self.heard if topic.startswith("tele/")]


agent_module._Agent = agent_module.Agent


def asked(text):
    """(path, first byte) of a request."""
    lines = text.split("\r\n")
    start = 0
    for line in lines:
        if line.startswith("Range: bytes="):
            start = int(line[13:].rstrip("-"))
    return lines[0].split()[1], start


def head(data, start):
    size = len(data)
    status = "200 OK\r\n"
    if start >= size > 0:
        return b"HTTP/1.1 416 R\r\nContent-Range: bytes */%d\r\nContent-Length: 0\r\n\r\n" % size
    if start:
        status = "206 Part\r\nContent-Range: bytes %d-%d/%d\r\n" % (start, size - 1, size)
    return ("HTTP/1.1 %sContent-Length: %d\r\n\r\n" % (status, size - start)).encode()


class Broker:
    """A broker for one device, MQTT 3.1.1, that keeps what is retained for it. trick(broker, wire, kind, body) may
    answer a packet itself; it returns True if that was all.
    """

    def __init__(self, trick=None):
        self.trick = trick
        self.wires = []
        self.world = None
        self.retained = {}  # topic -> payload

    def connection(self):
        self.buffer = b""
        self.filters = []
        wire = Wire(self._take)
        self.wires.append(wire)
        return wire

    def publish(self, topic, payload, flags=0x31):
        """Sends a message to the device now."""
        self.wires[-1].say(message(topic, payload, flags))

    def _take(self, wire, data):
        self.buffer += data
        while True:
            found = _packet(self.buffer)
            if not found:
                return
            kind, body, self.buffer = found
            if self.trick and self.trick(self, wire, kind, body):
                continue
            self.serve(wire, kind, body)

    def serve(self, wire, kind, body):
        """What a good broker does."""
        if kind == 0x10:
            wire.say(b"\x20\x02\x00\x00")
        elif kind == 0x82:
            wire.say(b"\x90\x03" + body[:2] + b"\x01")
            topic = body[4:-1].decode()
            self.filters.append(topic)
            payload = self.offered(topic)
            if payload:
                wire.say(message(topic, payload, 0x31))
        elif kind & 0xF0 == 0x30:
            size = 2 + (body[0] << 8 | body[1])
            topic, payload = body[2:size].decode(), body[size:]
            if kind & 6:
                wire.say(b"\x40\x02" + payload[:2])
                payload = payload[2:]
            if "/up/" in topic:
                self.world.hear(topic.split("/up/")[1], payload)
        elif kind == 0xC0:
            wire.say(b"\xd0\x00")

    def offered(self, topic):
        if topic in self.retained:
            return self.retained[topic]
        if topic.endswith("down/offer"):
            return self.world.offer
        return None


def message(topic, payload, flags=0x30, number=7):
    body = len(topic.encode()).to_bytes(2, "big") + topic.encode()
    if flags & 6:
        body += number.to_bytes(2, "big")
    body += payload
    return bytes((flags,)) + length(len(body)) + body


def length(size):
    out = b""
    while size > 127:
        out += bytes((size & 127 | 128,))
        size >>= 7
    return out + bytes((size,))


def _packet(data):
    """(first byte, body, rest) or None."""
    size = shift = 0
    for at in range(1, min(5, len(data))):
        size |= (data[at] & 127) << shift
        shift += 7
        if data[at] < 128:
            at += 1
            if len(data) < at + size:
                return None
            return data[0], data[at : at + size], data[at + size :]
    return None


__all__ = ("Broker", "Wire", "World", "asked", "cbor", "head", "message", "now")
