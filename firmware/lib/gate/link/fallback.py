"""Two connections to the server: MQTT, and CoAP while the broker is away. It has the methods of
gate.link.mqtt.

Only one is used at a time: messages would come down twice otherwise.
"""

import asyncio

from gate import LinkError, console
from gate.clock import const, sleep_ms
from gate.link.coap import CoapLink
from gate.link.mqtt import Link

_PATIENCE_S = const(20)  # how long the broker may be away before CoAP begins
_FAREWELL_S = const(5)  # CoAP goes on so long, for what the server had sent that way


class EitherLink:
    """See gate.link.mqtt.Link. first, second: the Link and the CoapLink."""

    def __init__(self, config, board, ssl=None):
        self.first = Link(config, board, ssl)
        self.second = CoapLink(config, board)
        self.joined = self.second.joined = self.first.joined

    @property
    def connected(self):
        return self.first.connected or self.second.connected

    @property
    def announced(self):
        return self.first.announced or self.second.announced

    @property
    def sessions(self):
        return self.first.sessions + self.second.sessions

    def facts(self):
        facts = self.first.facts()
        facts.update(self.second.facts())
        return facts

    def subscribe(self, handlers):
        self.first.subscribe(handlers)
        self.second.subscribe(handlers)

    def introduce(self, birth, state):
        self.first.introduce(birth, state)
        self.second.introduce(birth, state)

    def refresh(self):
        self.first.refresh()
        self.second.refresh()

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        await self._now().publish(topic, payload, qos, retain, timeout_s)

    async def round_trip(self):
        await self._now().round_trip()

    def _now(self):
        for link in (self.first, self.second):
            if link.connected:
                return link
        raise LinkError("neither the broker nor the server answers")

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
            away = 0 if self.first.connected else away + 1
            back = back + 1 if self.first.announced and not away else 0
            if speaking is None and away >= _PATIENCE_S:
                console.info("the broker is away: CoAP until it is back")
                speaking = asyncio.create_task(self.second.run())
            elif speaking is not None and back >= _FAREWELL_S:
                console.info("the broker is back")
                speaking.cancel()
                speaking = None
                self.second.leave()
