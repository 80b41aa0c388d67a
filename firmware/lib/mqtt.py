"""An MQTT 3.1.1 client on asyncio, QoS 0 and 1, that does not own the network interface.

`run` connects, serves and reconnects for ever; publish and subscribe may be called at any time.
What was not acknowledged when a connection ended goes out again on the next one, in order, before
anything new.

Memory: a receive buffer of max_packet bytes, a small send buffer, at most WINDOW messages.
"""

import asyncio
import os

import mqtt_packet as wire
from aiotcp import connect, const, first, pause, ticks_diff, ticks_ms, within
from mqtt_packet import MqttError
from mqtt_session import SMALL, Filter, Message, Session

WINDOW = const(4)  # messages taken from publishers and not yet acknowledged
CONNECT_MS = const(15_000)  # for the TCP (and TLS) connection, and again for the CONNACK
REPLY_MS = const(20_000)  # for a PUBACK, SUBACK, PINGRESP, and between two parts of a packet
LINK_MS = const(500)  # how often the link is looked at while it is down
BACKOFF_BASE_MS = const(1_000)  # a pause before reconnecting is 0..this, then 0..twice this, ...
BACKOFF_CAP_MS = const(60_000)
STABLE_MS = const(10_000)  # a connection that lasted so long starts the pauses over


class Client:
    """An MQTT client; nothing moves unless `run` is running.

    user, password: str or None. keepalive: seconds. clean: ask for a session without a past.
    will: (topic, payload, qos, retain) or None.
    on_message(topic: str, payload: memoryview, retained: bool) is called for each message; the
    payload is valid only until it returns, and a QoS 1 message is acknowledged after that.
    on_connect(session_present: bool) is called at each connection. Both are plain functions and
    quick; what they raise is logged and counted in `handler_errors`.
    link() -> bool says whether the network is there. ssl: an SSLContext.
    max_packet: the largest packet taken, bytes; a larger message is dropped, acknowledged and
    counted in `oversized`. rng(n) -> n random bytes, for the jitter.
    log(str) hears of connections and how they ended; never of payloads or passwords.

    error: why the last connection ended. sessions: how many there were.
    """

    def __init__(
        self,
        client_id,
        host,
        port=1883,
        user=None,
        password=None,
        keepalive=60,
        clean=True,
        will=None,
        on_message=None,
        on_connect=None,
        link=None,
        ssl=None,
        max_packet=4096,
        rng=None,
        log=None,
    ):
        if not 2 <= keepalive <= 65535:
            raise ValueError("the MQTT keepalive must be 2 to 65535 s, not %d" % keepalive)
        if max_packet < 16:
            raise ValueError("max_packet must be at least 16 bytes, not %d" % max_packet)
        self._address = host, port, ssl
        self._hello = wire.connect(client_id, user, password, keepalive, clean, will)
        self._clean = clean
        self._on_connect = on_connect
        self._random = rng or os.urandom
        self._log = log
        self.on_message = on_message
        self.link = link
        self.error = None
        self.sessions = 0
        self.oversized = 0
        self.handler_errors = 0
        # Deadlines and pauses may be changed before run(); the constants say what they are.
        self.connect_ms = CONNECT_MS
        self.reply_ms = REPLY_MS
        self.ping_ms = keepalive * 500
        self.backoff_base_ms = BACKOFF_BASE_MS
        self.backoff_cap_ms = BACKOFF_CAP_MS
        # Shared with the session.
        self.rx = memoryview(bytearray(max_packet))
        self.tx = memoryview(bytearray(wire.HEAD_SIZE + SMALL))
        self.window = []  # of Message, oldest first
        self.filters = []  # of Filter
        self.work = asyncio.Event()  # there is something to write
        self._pid = 0
        self._session = None  # the Session while connected
        self._up = asyncio.Event()
        self._leave = asyncio.Event()
        self._gate = asyncio.Lock()  # publishers pass in the order they came
        self._room = asyncio.Event()  # the window has room

    @property
    def connected(self):
        return self._session is not None

    async def wait_connected(self):
        await self._up.wait()

    async def run(self):
        """Keeps a connection until disconnect().

        Cancelled, it drops the connection without a word, and the broker sends the will.
        """
        attempt = 0
        try:
            while not self._leave.is_set():
                if self.link and not self.link():
                    await first(pause(LINK_MS), self._leave.wait())
                    continue
                began = ticks_ms()
                try:
                    await self._connection()
                except (OSError, MqttError, MemoryError) as error:
                    self.error = error
                    if ticks_diff(ticks_ms(), began) >= STABLE_MS:
                        attempt = 0
                    ms = self._backoff(attempt)
                    attempt += 1
                    self.say("%r; next try in %d ms" % (error, ms))
                    await first(pause(ms), self._leave.wait())
        finally:
            self._leave.clear()
            for message in self.window:
                message.end(MqttError("stopped", "the client was stopped"))

    def disconnect(self):
        """Asks run() to take leave of the broker, which then sends no will, and to return."""
        self._leave.set()

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        """Publishes payload, str or bytes-like; the caller leaves it unchanged until this returns.

        QoS 0 returns when the bytes are with the system. QoS 1 returns when the broker has
        acknowledged; until then the message survives reconnections. A message given up after
        timeout_s may still arrive. Raises MqttError; ValueError for what MQTT cannot carry.
        """
        if isinstance(payload, str):
            payload = payload.encode()
        if qos not in (0, 1) or len(payload) > wire.MAX_PAYLOAD:
            raise ValueError("QoS is 0 or 1, a payload at most %d bytes" % wire.MAX_PAYLOAD)
        flags = qos << 1 | (wire.RETAIN if retain else 0)
        delivery = self._deliver(wire.topic_bytes(topic), payload, flags)
        try:
            await (delivery if timeout_s is None else within(int(timeout_s * 1000), delivery))
        except asyncio.TimeoutError:
            raise MqttError("timeout", "the message was not delivered in %s s" % timeout_s)

    async def subscribe(self, topic, qos=1):
        """Subscribes to a topic filter, now and at each reconnection.

        Returns the QoS granted, or None if there is no connection yet. Raises MqttError if the
        broker refuses.
        """
        if qos not in (0, 1):
            raise ValueError("QoS is 0 or 1")
        item = self._filter(wire.topic_bytes(topic, wildcards=True))
        return await self._ask(item, qos)

    async def unsubscribe(self, topic):
        """Ends a subscription; it is forgotten when the broker, now or later, has confirmed."""
        await self._ask(self._filter(wire.topic_bytes(topic, wildcards=True)), None)

    async def round_trip(self):
        """Returns when the broker has answered a PINGREQ; MqttError if it cannot or does not."""
        if not self._session:
            raise MqttError("offline", "not connected")
        await self._session.ping()

    # ------------------------------------------------------------ for the session

    def say(self, text):
        if self._log:
            self._log("mqtt: " + text)

    def call(self, handler, *args):
        """Runs the application's handler: a fault in it is its own, the connection goes on."""
        try:
            handler(*args)
        except Exception as error:
            self.handler_errors += 1
            self.say("a handler raised %r" % error)

    def next_pid(self):
        """A packet identifier that is not in use (2.3.1)."""
        while True:
            self._pid = self._pid % 65535 + 1
            if not any(item.pid == self._pid for item in self.window + self.filters):
                return self._pid

    # ------------------------------------------------------------ behind it

    def _backoff(self, attempt):
        """Full jitter: 0 to a doubling cap, so that a fleet does not come back in step."""
        most = min(self.backoff_cap_ms, self.backoff_base_ms << min(attempt, 16))
        return most * int.from_bytes(self._random(2), "big") >> 16

    async def _connection(self):
        host, port, ssl = self._address
        try:
            stream = await connect(host, port, self.connect_ms, ssl)
        except asyncio.TimeoutError:
            raise MqttError("timeout", "no connection to %s:%d" % (host, port))
        session = Session(self, stream)
        try:
            try:
                opening = session.open(self._hello, self._clean)
                present = await within(self.connect_ms, opening)
            except asyncio.TimeoutError:
                raise MqttError("timeout", "no CONNACK")
            for item in self.filters:
                item.ask(item.qos)
            self.sessions += 1
            self._session = session
            self.work.set()
            self.say("connected to %s:%d" % (host, port))
            if self._on_connect:
                self.call(self._on_connect, present)
            self._up.set()
            await session.serve(self._leave)
        finally:
            self._session = None
            self._up.clear()
            for message in self.window:
                if not message.pid:
                    message.end(MqttError("lost", "the connection ended"))
            await stream.close()

    async def _deliver(self, topic, payload, flags):
        qos = flags & 0x06
        async with self._gate:
            while len(self.window) >= WINDOW:
                self._room.clear()
                await self._room.wait()
            if not qos and not self._session:
                raise MqttError("offline", "not connected, and QoS 0 does not wait")
            message = Message(topic, payload, flags, self.next_pid() if qos else 0)
            self.window.append(message)
        try:
            self.work.set()
            await message.over.wait()
        finally:
            self.window.remove(message)
            self._room.set()
        if message.error:
            raise message.error

    def _filter(self, topic):
        for item in self.filters:
            if item.topic == topic:
                return item
        item = Filter(topic)
        self.filters.append(item)
        return item

    async def _ask(self, item, qos):
        item.ask(qos)
        session = self._session
        if not session:
            return None
        self.work.set()
        while item.granted is None and item.qos == qos:
            if session.ended:
                return None  # remembered: the next session asks again
            await session.news.wait()
        if item.granted == wire.REFUSED:
            raise MqttError("refused", "no subscription to " + item.topic.decode(), wire.REFUSED)
        return item.granted
