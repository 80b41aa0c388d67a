"""Data components: files beside the image that are updated alone and without a restart, such as a
calibration table or a model. Here: their offers, taken one at a time;
gate.update.data_component carries them out.
"""

import asyncio
import gc
import hashlib

from gate import console, ondemand
from gate.clock import const
from gate.reporting import alarms
from gate.update import CURRENT, Superseded

_MEMORY_ATTEMPTS = const(3)
_MEMORY_PAUSE_S = const(5)


class Data:
    """All data components of the application, and the task that updates them."""

    def __init__(self, takers, state, device, reporter, alarms_):
        """takers: {name: function(path)}, called with the path of verified content, at each start
        and after each change, or with None if there is none. It refuses by returning False or
        raising. state: SmallFiles of a folder for the components alone; device:
        gate.device.Device.
        """
        self._takers = takers
        self._state = state
        self._device = device
        self._reporter = reporter
        self._alarms = alarms_
        self._inbox = {}
        self._arrived = asyncio.Event()
        self._answered = {}  # name -> hash of the last envelope that came to an end

    def _component(self, name):
        """The gate.update.data_component.Component. Only inside `with ondemand.modules`."""
        from gate.update.data_component import Component

        return Component(name, self._takers[name], self._state, self._device.feed)

    def open(self):
        """Shows the application what is here; call once, before run()."""
        with ondemand.modules:
            for name in self._takers:
                for reason, detail in self._component(name).open():
                    self._alarms.raise_(alarms.DATA_REFUSED, reason, detail)

    def held(self):
        """{name: [sequence, SHA-256]} of what is current."""
        held = {}
        for name in self._takers:
            record = self._state.load(name)
            if isinstance(record, dict) and CURRENT in record:
                held[name] = record[CURRENT][:2]
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
        """The trust store has changed: a refused offer may come again."""
        self._answered = {}

    async def run(self, beat):
        """The task: carries out one offer after the other."""
        while True:
            if not self._inbox:
                self._arrived.clear()
                await beat.wait(self._arrived)
                continue
            name, data = self._inbox.popitem()
            seen = hashlib.sha256(data).digest()
            if self._answered.get(name) == seen:
                continue
            while self._device.heavy:
                await beat.sleep(1)
            self._device.updating += 1
            try:
                await self._carry_out(name, data, beat)
                self._answered[name] = seen
            except Superseded:
                console.info("a newer offer for data %s arrived", name)
            finally:
                self._device.updating -= 1

    async def _carry_out(self, name, data, beat):
        for attempt in range(_MEMORY_ATTEMPTS):
            gc.collect()
            try:
                with ondemand.modules:
                    await self._run(name, data, beat, attempt + 1 == _MEMORY_ATTEMPTS)
                return
            except MemoryError:  # often a matter of what else goes on in this moment
                console.info("data %s: out of memory; again in %d s", name, _MEMORY_PAUSE_S)
            await beat.sleep(_MEMORY_PAUSE_S)

    async def _run(self, name, data, beat, last):
        from gate.update.data_component import DataUpdate

        async def wait(seconds, beat):
            for _ in range(seconds):
                if name in self._inbox:
                    raise Superseded
                await beat.sleep(1)

        update = DataUpdate(
            self._component(name), self._device, self._reporter, self._alarms, wait, beat
        )
        await update.run(data, last)
