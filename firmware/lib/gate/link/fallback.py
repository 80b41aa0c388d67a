"""Two connections to the server: MQTT, and CoAP while the broker is away. It has the methods of
gate.link.mqtt.

Only one is used at a time: messages would come down twice otherwise. The modules of CoAP are in
memory only while it stands in.
"""

import asyncio
import gc
import sys

from gate import LinkError, console, ondemand
from gate.clock import const, sleep_ms
from gate.link.mqtt import Link

_PATIENCE_S = const(20)  # how long the broker may be away before CoAP begins
_FAREWELL_S = const(5)  # CoAP goes on so long, for what the server had sent that way
_ROOM_S = const(120)  # an update that lacked memory has it for so long


class EitherLink:
    """See gate.link.mqtt.Link. first: the Link; second: the CoapLink that stands in, or None."""

    def __init__(self, config, board, ssl=None):
        self.first = Link(config, board, ssl)
        self.second = None
        self.joined = self.first.joined
        self._peer = config.device, config.coap_key, config.coap_host, config.coap_port
        self._board = board
        self._handlers = self._birth = self._state = None
        self._modules = ()  # names of those that the second link brought
        self._ended = 0  # sessions of second links that are gone
        self._room_s = 0  # seconds left in which CoAP must not be in memory

    def _links(self):
        return (self.first, self.second) if self.second else (self.first,)

    @property
    def connected(self):
        return any(link.connected for link in self._links())

    @property
    def announced(self):
        return any(link.announced for link in self._links())

    @property
    def sessions(self):
        return self._ended + sum(link.sessions for link in self._links())

    def facts(self):
        second = self.second
        facts = self.first.facts()
        facts["coap"] = {
            "connected": bool(second and second.connected),
            "sessions": self._ended + (second.sessions if second else 0),
        }
        return facts

    def subscribe(self, handlers):
        self._handlers = handlers
        self.first.subscribe(handlers)

    def introduce(self, birth, state):
        self._birth = birth
        self._state = state
        self.first.introduce(birth, state)

    def refresh(self):
        for link in self._links():
            link.refresh()

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        await self._now().publish(topic, payload, qos, retain, timeout_s)

    async def round_trip(self):
        await self._now().round_trip()

    def _now(self):
        for link in self._links():
            if link.connected:
                return link
        raise LinkError("neither the broker nor the server answers")

    def make_room(self):
        """CoAP leaves the memory soon, for some while: an update needs it, whose payload comes by
        HTTP. What is said meanwhile waits.
        """
        self._room_s = _ROOM_S

    async def run(self):
        await asyncio.gather(self.first.run(), self._stand_in())

    async def announce(self, beat):
        try:
            link = self._now()
        except LinkError:  # lost again; the next connection is announced
            return
        await link.announce(beat)

    async def _stand_in(self):
        """Begins CoAP when the broker has been away for a while, and ends it when it is back."""
        away = back = 0
        speaking = None
        while True:
            await sleep_ms(1000)
            self._room_s = max(0, self._room_s - 1)
            away = 0 if self.first.connected or self._room_s else away + 1
            back = back + 1 if self.first.announced and not away else 0
            if speaking is None and away >= _PATIENCE_S:
                console.info("the broker is away: CoAP until it is back")
                try:
                    self._begin()
                except MemoryError as error:  # what holds it now may be gone by then
                    console.error("no memory for CoAP: %s; again in %d s", error, _PATIENCE_S)
                    self._end()
                    away = 0
                    continue
                speaking = asyncio.create_task(self.second.run())
            elif speaking is not None and (back >= _FAREWELL_S or self._room_s):
                console.info("CoAP makes room" if self._room_s else "the broker is back")
                speaking.cancel()
                speaking = None
                self.second.leave()
                self._end()

    def _begin(self):
        gc.collect()
        before = set(sys.modules)
        try:
            from gate.link.coap import CoapLink
        finally:
            self._modules = [name for name in sys.modules if name not in before]
            ondemand.modules.keep(self._modules)
        second = CoapLink(*self._peer, self._board)
        second.joined = self.joined
        second.subscribe(self._handlers)
        second.introduce(self._birth, self._state)
        self.second = second

    def _end(self):
        if self.second:
            self._ended += self.second.sessions
        self.second = None
        ondemand.modules.let_go(self._modules)
        self._modules = ()
