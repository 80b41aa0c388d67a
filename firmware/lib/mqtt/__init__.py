"""An MQTT client on asyncio, QoS 0 and 1, that does not own the network interface.

`run` connects, serves and reconnects for ever; publish and subscribe may be called at any time.
What was not acknowledged when a connection ended goes out again on the next one, in order, before
anything new.

Memory: a receive buffer of max_packet bytes and a send buffer of 272. MQTT 5 (`mqtt.v5`) and
messages larger than the buffer (`mqtt.large`) are imported when they are first needed.
"""

import os
from asyncio import TimeoutError

from aiotcp import connect, const, first, sleep_ms, ticks_diff, ticks_ms, within

from mqtt import packet as wire
from mqtt.packet import MqttError
from mqtt.requests import Request
from mqtt.session import Session

_PUBLISH = const(0x30)
_PINGREQ = const(0xC0)
_LEAVING = const(0x08)  # instead of a QoS: to be unsubscribed from

_WINDOW = const(4)  # messages of QoS 1 on their way at a time
_MAX_PAYLOAD = const(0xFFFFF00)  # bytes, less some for the head; that of MQTT
_CONNECT_MS = const(15_000)  # for the TCP (and TLS) connection, and again for the CONNACK
_REPLY_MS = const(20_000)  # for an answer, and for a packet to be complete
_SLICE_MS = const(500)  # how often the link and disconnect() are looked at between connections
_BACKOFF_BASE_MS = const(1_000)  # a pause before reconnecting is 0..this, then 0..twice this, ...
_BACKOFF_CAP_MS = const(60_000)
_STABLE_MS = const(10_000)  # a connection that lasted so long starts the pauses over


class Client(Session):
    """An MQTT client; nothing moves unless `run` is running.

    user, password: str or None. keepalive: seconds. clean: ask for a session without a past.
    will: (topic, payload, qos, retain) or None; a fifth are its properties, of MQTT 5.
    on_message(topic: str, payload: memoryview, retained: bool) is called for each message; the
    payload is valid only until it returns, and a QoS 1 message is acknowledged after that.
    on_connect(session_present: bool) is called at each connection. Both are plain functions and
    quick; what they raise is logged and counted in `handler_errors`.
    link() -> bool says whether the network is there. ssl: an SSLContext.
    max_packet: the largest packet taken into memory, bytes. on_large(topic, size, retained) may
    give a larger message a place (mqtt.large); else it is dropped, acknowledged and counted in
    `oversized`. window: QoS 1 messages on their way at a time. rng(n) -> n random bytes, for the
    jitter. log(str) hears of connections and how they ended; never of payloads or passwords.
    version: 4 for MQTT 3.1.1, 5 for MQTT 5; then properties are those of CONNECT,
    {mqtt.v5 constant: value}, and on_message has a fourth argument, the message's.

    connected; error: why the last connection ended; sessions: how many there were.
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
        on_large=None,
        window=_WINDOW,
        version=4,
        properties=None,
    ):
        if not 2 <= keepalive <= 65535:
            raise ValueError("the MQTT keepalive must be 2 to 65535 s, not %d" % keepalive)
        if max_packet < 16 or window < 1 or version not in (4, 5):
            raise ValueError("max_packet at least 16 bytes, window at least 1, version 4 or 5")
        super().__init__(max_packet, window)
        self.rng = rng or os.urandom
        self.log = log
        self.on_message = on_message
        self.on_connect = on_connect
        self.on_large = on_large
        self.link = link
        self.error = None
        # Deadlines and pauses may be changed before run(); the constants say what they are.
        self.connect_ms = _CONNECT_MS
        self.reply_ms = _REPLY_MS
        self.ping_ms = keepalive * 500
        self.backoff_base_ms = _BACKOFF_BASE_MS
        self.backoff_cap_ms = _BACKOFF_CAP_MS
        more = ()
        if version == 5:
            from mqtt import v5

            self.five = v5.Five(self)
            more = (self.five.connect(properties, will[4] if will and len(will) > 4 else None),)
        hello = wire.connect(client_id, user, password, keepalive, clean, will and will[:4], *more)
        self.config = host, port, ssl, hello, clean

    async def wait_connected(self):
        while not self.connected:
            await self.news.wait()

    async def run(self):
        """Keeps a connection until disconnect().

        Cancelled, it drops the connection without a word, and the broker sends the will.
        """
        attempt = 0
        try:
            while not self.leaving:
                if self.link and not self.link():
                    await sleep_ms(_SLICE_MS)
                    continue
                began = ticks_ms()
                try:
                    await self._connection()
                    break
                except (OSError, MqttError, MemoryError) as error:
                    self.error = error
                now = ticks_ms()
                if ticks_diff(now, began) >= _STABLE_MS:
                    attempt = 0
                # Full jitter: 0 to a doubling cap, so that a fleet does not come back in step.
                ms = min(self.backoff_cap_ms, self.backoff_base_ms << min(attempt, 16))
                ms = ms * int.from_bytes(self.rng(2)) >> 16
                attempt += 1
                self.say("%s:%d: %r; next try in %d ms" % (self.config[:2] + (self.error, ms)))
                while ms > 0 and not self.leaving:
                    await sleep_ms(min(ms, _SLICE_MS))
                    ms -= _SLICE_MS
        finally:
            self.leaving = False
            for item in list(self.window):
                self.done(item, MqttError("stopped", "the client was stopped"))

    async def _connection(self):
        """From connecting to disconnect(); MqttError or OSError if the connection ends before."""
        host, port, ssl, hello, clean = self.config
        try:
            self.stream = await connect(host, port, self.connect_ms, ssl)
            try:
                present = await within(self.connect_ms, self.open(hello, clean))
                self.say("connected to %s:%d" % (host, port))
                self.accept(present)
                if self.on_connect:
                    self.call(self.on_connect, present)
                await first(self.recv(), self.write(), self.poll())
            finally:
                self.discard(MqttError("lost", "the connection ended"))
                await self.stream.close()
        except TimeoutError:
            raise MqttError("timeout", "no connection to %s:%d, or no CONNACK" % (host, port))

    def disconnect(self):
        """Asks run() to take leave of the broker, which then sends no will, and to return."""
        self.leaving = True
        self.work.set()

    async def publish(
        self, topic, payload, qos=0, retain=False, timeout_s=None, size=None, properties=None
    ):
        """Publishes payload, str or bytes-like; the caller leaves it unchanged until this returns.

        With a size it is a reader of so many bytes: it has readinto(), and for QoS 1 tell() and
        seek(). properties: of MQTT 5, {mqtt.v5 constant: value}.

        QoS 0 returns when the bytes are with the system. QoS 1 returns when the broker has
        acknowledged; until then the message survives reconnections. A message given up after
        timeout_s may still arrive. Raises MqttError; ValueError for what MQTT cannot carry.
        """
        if isinstance(payload, str):
            payload = payload.encode()
        if qos not in (0, 1) or (len(payload) if size is None else size) > _MAX_PAYLOAD:
            raise ValueError("QoS is 0 or 1, a payload at most %d bytes" % _MAX_PAYLOAD)
        item = Request(_PUBLISH | qos << 1 | bool(retain), wire.topic_bytes(topic), payload)
        if size is not None:
            item.size = size
            item.start = payload.tell() if qos else 0
        if self.five:
            self.five.pack(item, properties)
        if not qos and not self.connected:
            raise MqttError("offline", "not connected, and QoS 0 does not wait")
        answer = self.send(item)
        try:
            return await (answer if timeout_s is None else within(int(timeout_s * 1000), answer))
        except TimeoutError:
            raise MqttError("timeout", "the message was not delivered in %s s" % timeout_s)

    async def subscribe(self, topic, qos=1):
        """Subscribes to a topic filter, now and at each reconnection.

        Returns the QoS granted, or None if there is no connection yet. Raises MqttError if the
        broker refuses.
        """
        if qos not in (0, 1, _LEAVING):
            raise ValueError("QoS is 0 or 1")
        topic = wire.topic_bytes(topic, True)
        self.filters[topic] = qos
        if not self.connected:
            return None
        try:
            return await self.send(self.filter(topic))
        except MqttError as error:
            if error.reason != "lost":
                raise
            return None  # remembered: the next connection asks again

    async def unsubscribe(self, topic):
        """Ends a subscription; it is forgotten when the broker, now or later, has confirmed."""
        await self.subscribe(topic, _LEAVING)

    async def round_trip(self):
        """Returns when the broker has answered a PINGREQ; MqttError if it cannot or does not."""
        if not self.connected:
            raise MqttError("offline", "not connected")
        await self.send(Request(_PINGREQ))

    # ------------------------------------------------------------ for the session

    def say(self, text):
        if self.log:
            self.log("mqtt: " + text)

    def call(self, handler, *args):
        """What the application's handler returns: a fault in it is its own, we go on."""
        try:
            return handler(*args)
        except Exception as error:
            self.handler_errors += 1
            self.say("a handler raised %r" % error)
