"""The device's connection when it is MQTT: brings the network up, publishes birth and state, and
passes on the messages that come down.
"""

import asyncio

import cbor
from mqtt import Client, MqttError

from gate import LinkError, console
from gate.clock import const
from gate.tasks import Job

_KEEPALIVE_S = const(60)
_MAX_PACKET = const(2560)  # bytes: the largest envelope, its topic and head
_HELD = const(512)  # bytes of the buffer that lasts; a larger packet has one while it comes
_PUBLISH_S = const(20)
_PING_S = const(10)
_ONLINE = const(1)  # key of a state, docs/wire.cddl


class Link:
    """The MQTT connection of one device. announced: the broker has this boot's birth since the
    last connection; joined: the Job of announce, at each connection.
    """

    def __init__(self, config, board, ssl=None):
        """config: gate.settings.config.Config; ssl: an SSLContext, if there is TLS."""
        self._up = "tg/%s/up/" % config.device
        self._down = "tg/%s/down/" % config.device
        self._by_topic = {}  # of what comes down
        self._board = board
        self.joined = Job()
        self._birth = None
        self._state = None
        self.announced = False
        self.client = Client(
            config.device,
            config.mqtt_host,
            config.mqtt_port,
            user=config.user,
            password=config.password,
            keepalive=_KEEPALIVE_S,
            will=(self._up + "state", cbor.dumps({_ONLINE: False}), 1, True),
            on_message=self._message,
            on_connect=self._connected,
            link=board.link,
            ssl=ssl if config.mqtt_tls else None,
            max_packet=_MAX_PACKET,
            held=_HELD,
            rng=board.random,
            log=console.info,
        )

    @property
    def connected(self):
        return self.client.connected

    @property
    def sessions(self):
        """Connections so far."""
        return self.client.sessions

    def facts(self):
        """The session in words and numbers, for the opcode mqtt."""
        client = self.client
        host, port, ssl = client.config[:3]
        return {
            "mqtt": {
                "host": host,
                "port": port,
                "tls": ssl is not None,
                "connected": client.connected,
                "sessions": client.sessions,
                "last_error": repr(client.error)[:80] if client.error else None,
                "in_flight": len(client.window),
                "oversized": client.oversized,
                "handler_errors": client.handler_errors,
                "keepalive_s": client.ping_ms // 500,
                "packet_size": client.max_packet,
            }
        }

    def subscribe(self, handlers):
        """handlers: {name below down/: function(bytes-like)}, called for each message that comes,
        which is valid until it returns; must be quick. Call it before run().
        """
        self._by_topic = {self._down + name: handlers[name] for name in handlers}

    def introduce(self, birth, state):
        """birth(), state() -> bytes: published, retained, at each connection, and at once if there
        is one.
        """
        self._birth = birth
        self._state = state
        self.refresh()

    def refresh(self):
        """Publishes state and birth, which have changed, again if there is a connection; also
        what changes while the first birth is on its way.
        """
        if self.connected:
            self.joined.set()

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        """Publishes under the device's up/; raises LinkError."""
        try:
            await self.client.publish(self._up + topic, payload, qos, retain, timeout_s)
        except MqttError as error:
            raise LinkError(str(error))

    async def round_trip(self):
        """Returns when the broker has answered; raises LinkError."""
        try:
            await asyncio.wait_for(self.client.round_trip(), _PING_S)
        except asyncio.TimeoutError:
            raise LinkError("no answer within %d s" % _PING_S)
        except MqttError as error:
            raise LinkError(str(error))

    async def run(self):
        """The connection itself."""
        self._board.network_up()
        for topic in self._by_topic:
            await self.client.subscribe(topic)
        await self.client.run()

    async def announce(self, beat):
        """The task of `joined`: publishes birth and state."""
        try:
            await self.publish("state", self._state(), 1, True, _PUBLISH_S)
            beat()
            await self.publish("birth", self._birth(), 1, True, _PUBLISH_S)
        except LinkError as error:
            console.info("not announced yet: %s", error)
            await beat.sleep(1)
            if self.connected:  # else the next connection does
                self.joined.set()
            return
        if not self.announced:
            console.info("connected and announced")
        self.announced = True

    def _connected(self, session_present):
        self.announced = False
        self.joined.set()

    def _message(self, topic, payload, retained):
        handler = self._by_topic.get(topic)
        # An empty one was withdrawn; who takes offers is told.
        if handler and (len(payload) or topic[len(self._down) :][:5] == "offer"):
            handler(payload)
