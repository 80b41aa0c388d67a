"""Data components: files beside the image that are updated alone and without a restart, such as a
calibration table or a model. Here: their offers, taken one at a time;
gate.update.data_component does the work.
"""

import asyncio
import gc
import hashlib

from gate import console, ondemand
from gate.clock import const
from gate.reporting import alarms

# keys of a component's record
FLOOR = const(1)  # sequence number of the newest content that was current, or refused
CURRENT = const(2)  # [sequence, SHA-256, size]
TRIAL = const(3)  # [sequence, attempts]: content that the application is being shown

_MEMORY_ATTEMPTS = const(3)
_MEMORY_PAUSE_S = const(5)


class Superseded(Exception):
    """A newer offer of the component came."""


class Data:
    """All data components of the application, and the task that updates them."""

    def __init__(self, takers, state, device, reporter, alarms_):
        """takers: {name: function(path)}, called with the path of verified content, at each start
        and when it changed, or with None if there is none. It refuses by returning False or
        raising. state: SmallFiles of a folder for the components alone; device:
        gate.device.Device.
        """
        self._takers = takers
        self._state = state
        self.device = device
        self.reporter = reporter
        self.alarms = alarms_
        self._inbox = {}
        self._arrived = asyncio.Event()
        self._answered = {}  # name -> hash of the last envelope that came to an end

    def component(self, name):
        """The gate.update.data_component.Component. Only inside `with ondemand.modules`."""
        from gate.update.data_component import Component

        return Component(name, self._takers[name], self._state, self.device.feed)

    def open(self):
        """Shows the application what is here; call once, before run()."""
        with ondemand.modules:
            for name in self._takers:
                for reason, detail in self.component(name).open():
                    self.alarms.raise_(alarms.DATA_REFUSED, reason, detail)

    def held(self):
        """{name: [sequence, SHA-256]} of what is current."""
        held = {}
        for name in self._takers:
            kept = self._state.load(name)
            if isinstance(kept, dict) and CURRENT in kept:
                held[name] = kept[CURRENT][:2]
        return held

    def handlers(self):
        """{topic below down/: function(bytes)} that take the offers."""
        return {"offer/" + name: self._handler(name) for name in self._takers}

    def _handler(self, name):
        def offered(data):
            self._inbox[name] = data
            self._arrived.set()

        return offered

    def trust_changed(self):
        """Other keys count from now on: what was refused may be offered again."""
        self._answered = {}

    async def run(self, beat):
        """The task: one offer after the other."""
        while True:
            if not self._inbox:
                self._arrived.clear()
                await beat.wait(self._arrived)
                continue
            name, data = self._inbox.popitem()
            seen = hashlib.sha256(data).digest()
            if self._answered.get(name) == seen:
                continue
            while self.device.heavy:
                await beat.sleep(1)
            self.device.updating += 1
            try:
                await self._carry_out(name, data, beat)
                self._answered[name] = seen
            except Superseded:
                console.info("another offer for data %s came", name)
            finally:
                self.device.updating -= 1

    async def pause(self, name, seconds, beat):
        """Sleeps; a newer offer of the component ends it by Superseded."""
        for _ in range(seconds):
            if name in self._inbox:
                raise Superseded
            await beat.sleep(1)

    async def _carry_out(self, name, data, beat):
        for attempt in range(_MEMORY_ATTEMPTS):
            gc.collect()
            try:
                with ondemand.modules:
                    await self._offer(name, data, beat, attempt + 1 == _MEMORY_ATTEMPTS)
                return
            except MemoryError:  # often a matter of what else goes on in this moment
                console.info("data %s: out of memory; again in %d s", name, _MEMORY_PAUSE_S)
            await beat.sleep(_MEMORY_PAUSE_S)

    async def _offer(self, name, data, beat, last):
        from gate.update.data_component import Offer

        await Offer(self, name, beat).carry_out(data, last)
