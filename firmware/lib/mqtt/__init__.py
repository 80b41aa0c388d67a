"""An MQTT client on asyncio, QoS 0 and 1, that does not own the network interface.

    client = Client("bench-1", "192.168.1.10", on_message=print)
    connection = asyncio.create_task(client.run())
    await client.subscribe("bench-1/set/#")
    await client.publish("bench-1/state", "here", qos=1, retain=True)

`run` connects, serves and reconnects for ever; publish and subscribe may be called at any time.
Messages that were not acknowledged when a connection ended are sent again on the next one, in
order, before anything new.

Memory: a receive buffer of max_packet bytes, or of `held` where that is less, and a send buffer of
272. MQTT 5 (`mqtt.v5`) and messages larger than the buffer (`mqtt.large`) are imported when they
are first needed.
"""

import os
from asyncio import TimeoutError

from aiotcp import connect, const, first, sleep_ms, within

from mqtt import packet as wire
from mqtt.packet import MqttError
from mqtt.requests import Request
from mqtt.session import Session

_PUBLISH = const(0x30)
_PINGREQ = const(0xC0)
_UNSUBSCRIBE = const(0x08)  # in place of a QoS

__version__ = "0.3.0"

_WINDOW = const(4)  # messages of QoS 1 that may wait for their PUBACK
_MAX_PAYLOAD = const(0xFFFFF00)  # bytes; MQTT's own limit less some for the head
_CONNECT_MS = const(15_000)  # for the TCP (and TLS) connection, and again for the CONNACK
_REPLY_MS = const(20_000)  # for an answer, and for a packet to be complete
_SLICE_MS = const(500)  # how often the link and disconnect() are checked between connections
_BACKOFF_BASE_MS = const(1_000)  # a pause before reconnecting is 0..this, then 0..twice this, ...
_BACKOFF_CAP_MS = const(60_000)

# One text: as a tuple the names would be in RAM.
_OPTIONS = (
    "on_message on_connect on_large link log rng "
    "connect_ms reply_ms ping_ms backoff_base_ms backoff_cap_ms"
)


class Client(Session):
    """An MQTT client; nothing is sent before `run`.

    host: str; user, password: str or None; keepalive: seconds, 2 to 65535; clean: ask the broker
    for a new session; will: (topic, payload, qos, retain) or None, for MQTT 5 with its properties
    as a fifth; ssl: an SSLContext; version: 4 for MQTT 3.1.1, 5 for MQTT 5; properties: those of
    CONNECT, {mqtt.v5 constant: value}; max_packet: bytes of the largest packet taken into memory;
    window: messages of QoS 1 that may wait for their PUBACK; held: bytes of the receive buffer, if
    a packet larger than it is to get one of its own while it comes. Raises ValueError.

    The options below are attributes: given here by name, or set before run().

    on_message(topic: str, payload: memoryview, retained: bool), of MQTT 5 with the properties as a
    fourth, is called for each message; the payload is valid only until it returns, and a QoS 1
    message is acknowledged after that. on_connect(session_present: bool) is called at each
    connection. Both are plain functions and quick; exceptions they raise are logged and counted in
    `handler_errors`. on_large(topic, size, retained) returns where to put a message larger than
    max_packet (mqtt.large); without it the message is dropped, acknowledged and counted in
    `oversized`. link() -> bool: whether the network is up. log(str) is called when connections
    begin and end, never with payloads or passwords. rng(n) -> n random bytes, for the jitter.
    connect_ms, reply_ms, ping_ms, backoff_base_ms, backoff_cap_ms: deadlines and pauses.

    To read: connected; error: why the last connection ended; sessions: connections so far;
    oversized; handler_errors.
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
        ssl=None,
        version=4,
        properties=None,
        max_packet=4096,
        window=_WINDOW,
        held=None,
        **options,
    ):
        whole("keepalive", keepalive, 2, 65535)
        whole("port", port, 1, 65535)
        whole("max_packet", max_packet, 16)
        whole("window", window, 1, 65535)
        held = max_packet if held is None else held
        whole("held", held, 16, max_packet)
        whole("version", version, 4, 5)
        wire.text_bytes(host)
        if not host or any(char <= " " or char > "~" for char in host):
            raise ValueError("the MQTT host is a name or an address, not %r" % host)
        super().__init__(max_packet, window, held)
        self.on_message = self.on_connect = self.on_large = self.link = self.log = None
        self.error = None
        self.rng = os.urandom
        self.connect_ms = _CONNECT_MS
        self.reply_ms = _REPLY_MS
        self.ping_ms = keepalive * 500
        self.backoff_base_ms = _BACKOFF_BASE_MS
        self.backoff_cap_ms = _BACKOFF_CAP_MS
        for name, value in options.items():
            if name not in _OPTIONS.split():
                raise TypeError("mqtt.Client has no option %s" % name)
            if name.endswith("_ms"):
                whole(name, value, 1)
            elif value is not None and not callable(value):
                raise ValueError("%s is a function, not %r" % (name, value))
            setattr(self, name, value)
        more = ()
        if version == 5:
            from mqtt.v5 import Mqtt5

            self.v5 = Mqtt5(self)
            more = (self.v5.connect(properties, will[4] if will and len(will) > 4 else None),)
        packet = wire.connect(
            client_id, user, password, keepalive, clean, will and will[:4], *more
        )
        self.config = host, port, ssl, packet, clean

    async def wait_connected(self):
        """Returns when there is a connection."""
        while not self.connected:
            await self.changed.wait()

    async def run(self):
        """Connects and reconnects until disconnect().

        When cancelled it drops the connection without a DISCONNECT, so the broker sends the will.
        """
        self.failed = 0
        try:
            while not self.disconnecting:
                try:
                    if self.link and not self.link():
                        await sleep_ms(_SLICE_MS)
                        continue
                    await self._connection()
                    break
                except Exception as error:  # whatever it is, the next attempt may go better
                    self.error = error
                # Full jitter: 0 to a doubling cap, so that a fleet does not come back in step.
                ms = min(self.backoff_cap_ms, self.backoff_base_ms << min(self.failed, 16))
                ms = ms * int.from_bytes(self.call(self.rng, 2) or b"\xff\xff") >> 16
                self.failed += 1
                self.say("%s:%d: %r; next try in %d ms" % (self.config[:2] + (self.error, ms)))
                while ms > 0 and not self.disconnecting:
                    await sleep_ms(min(ms, _SLICE_MS))
                    ms -= _SLICE_MS
        finally:
            self.disconnecting = False
            for item in list(self.window):
                self.done(item, MqttError("stopped", "the client was stopped"))

    async def _connection(self):
        """One connection, until disconnect(); raises MqttError or OSError if it ends before."""
        host, port, ssl, packet, clean = self.config
        try:
            self.stream = await connect(host, port, self.connect_ms, ssl)
            try:
                present = await within(self.connect_ms, self.open(packet, clean))
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
        """Makes run() send a DISCONNECT, so that the broker sends no will, and return."""
        self.disconnecting = True
        self.work.set()

    async def publish(
        self, topic, payload, qos=0, retain=False, timeout_s=None, size=None, properties=None
    ):
        """Publishes payload, str or bytes-like; the caller leaves it unchanged until this returns.

        With a size it is a reader of so many bytes: it has readinto(), and for QoS 1 tell() and
        seek(). properties: of MQTT 5, {mqtt.v5 constant: value}. timeout_s: seconds or None.

        QoS 0 returns when the system has taken the bytes. QoS 1 returns when the broker has
        acknowledged them; until then the message survives reconnections, and after timeout_s it
        may still arrive. Returns the broker's reason code. Raises MqttError, ValueError.
        """
        whole("QoS", qos, 0, 1)
        if size is None:
            payload = wire.payload_view(payload)
        elif not hasattr(payload, "readinto"):
            raise ValueError("with a size the payload is a reader, with readinto()")
        whole("size", len(payload) if size is None else size, 0, _MAX_PAYLOAD)
        if timeout_s is not None:
            timeout_s + 0  # a number: before the message has its place
        item = Request(_PUBLISH | qos << 1 | bool(retain), wire.topic_bytes(topic), payload)
        if size is not None:
            item.size = size
            item.start = payload.tell() if qos else 0
        if self.v5:
            self.v5.pack(item, properties)
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
        broker refuses, which is asked again each minute until unsubscribe(); ValueError for a
        malformed filter.
        """
        if qos != _UNSUBSCRIBE:
            whole("QoS", qos, 0, 1)
        topic = wire.topic_bytes(topic, True)
        self.filters[topic] = qos
        if not self.connected:
            return None
        try:
            return await self.send(self.filter(topic))
        except MqttError as error:
            if error.reason != "lost":
                raise
            return None  # the next connection subscribes again

    async def unsubscribe(self, topic):
        """Ends a subscription, now or at the next connection. Raises as subscribe()."""
        await self.subscribe(topic, _UNSUBSCRIBE)

    async def round_trip(self):
        """Returns when the broker has answered a PINGREQ. Raises MqttError if it does not."""
        if not self.connected:
            raise MqttError("offline", "not connected")
        await self.send(Request(_PINGREQ))

    # ------------------------------------------------------------ for the session

    def say(self, text):
        if self.log:
            try:
                self.log("mqtt: " + text)
            except Exception:  # there is nobody to tell
                self.handler_errors += 1

    def call(self, handler, *args):
        """Calls the application's handler; an exception in it is counted and must not end us."""
        try:
            return handler(*args)
        except Exception as error:
            self.handler_errors += 1
            self.say_often(self.handler_errors, "a handler raised %r" % error)

    def say_often(self, count, text):
        """Says so at the 1st, 2nd, 4th, 8th... time: a broker may bring it often."""
        if not count & (count - 1):
            self.say("%s (time %d)" % (text, count) if count > 1 else text)


def whole(name, value, least, most=0x3FFFFFFF):
    """Raises ValueError unless value is a whole number within these bounds."""
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError("%s is a whole number from %d to %d, not %r" % (name, least, most, value))
