"""Data components: files beside the image that are updated alone and without a restart, such as a
calibration table or a model. Here: their offers, taken one at a time;
gate.update.data_component carries them out.
"""

import gc
import hashlib

from gate import console, ondemand
from gate.clock import Uptime, const
from gate.reporting import alarms
from gate.tasks import Job
from gate.update import CURRENT, Superseded, wait_in_line

_MEMORY_ATTEMPTS = const(3)
_MEMORY_PAUSE_S = const(5)
_OFFER = ".offer"  # ending of the file of an offer that waits; the folder's other files: Component


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
        self.arrived = Job()
        self._answered = {}  # name -> hash of the last envelope that came to an end
        # name -> [when its offer is tried again, what retry knows, hash of the envelope]
        self._waiting = {}
        self._clock = Uptime()

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
            wait_in_line(self._inbox.setdefault(name, []), data)  # b"": it was withdrawn
            self.arrived.set()

        return offered

    def trust_changed(self):
        """The trust store has changed: a refused offer may come again."""
        self._answered = {}

    def forget(self):
        """Forgets what failed, as the operator wants it tried again."""
        self._answered = {}
        with ondemand.modules:
            for name in self._takers:
                self._component(name).forget()
        for name in list(self._waiting):
            self._waiting[name] = [0, None, None]
        self.arrived.set()

    async def run(self, beat):
        """The task of `arrived`: carries out one offer after the other, until none waits."""
        while self._inbox or self._waiting:
            if not self._inbox:
                await beat.sleep(1)
                self._look_at_pauses()
                continue
            name, line = self._inbox.popitem()
            data = line.pop()
            seen = hashlib.sha256(data).digest()
            if self._answered.get(name) == seen:
                continue  # also while it waits: it comes again at each connection
            if not data:  # anybody may have sent it: the pause stays, for the offer may come again
                self._answered.pop(name, None)
                self._state.remove(name + _OFFER)
                continue
            due, known, paused = self._waiting.get(name, (0, None, None))
            if seen == paused and self._clock.seconds() < due:
                self._answered[name] = seen  # another one came in between, or nothing
                self._keep(name, data)
                continue
            while self._device.heavy:
                await beat.sleep(1)
            self._device.updating += 1
            try:
                taken = await self._carry_out(name, data, known, beat)
                self._answered[name] = seen
                if line and not taken:
                    self._inbox[name] = line + self._inbox.get(name, [])
            except Superseded:
                # Anybody may have sent the other one: this one goes on if that is refused.
                console.info("another offer for data %s arrived", name)
                self._keep(name, data)
                self._waiting[name] = [0, known, seen]
            finally:
                self._device.updating -= 1

    def _keep(self, name, data):
        """Stores an offer that waits."""
        if self._state.read(name + _OFFER) != data:
            with ondemand.modules:
                self._component(name).keep(data)

    def _look_at_pauses(self):
        """Takes the offers whose pause is over."""
        now = self._clock.seconds()
        for name in list(self._waiting):
            if now < self._waiting[name][0]:
                continue
            self._answered.pop(name, None)
            data = self._state.read(name + _OFFER)
            if data:
                self._inbox[name] = [data]
            else:
                del self._waiting[name]

    async def _carry_out(self, name, data, known, beat):
        """Whether the offer was taken, or waits."""
        for attempt in range(_MEMORY_ATTEMPTS):
            gc.collect()
            try:
                with ondemand.modules:
                    last = attempt + 1 == _MEMORY_ATTEMPTS
                    return await self._run(name, data, known, beat, last)
            except MemoryError:  # often a matter of what else goes on in this moment
                console.info("data %s: out of memory; again in %d s", name, _MEMORY_PAUSE_S)
            await beat.sleep(_MEMORY_PAUSE_S)
        return False

    async def _run(self, name, data, known, beat, last):
        from gate.update import verified

        outcome = verified.outcome(data, self._device)
        from gate.update.data_component import DataUpdate

        async def wait(seconds, beat):
            for _ in range(seconds):
                if name in self._inbox:
                    raise Superseded
                await beat.sleep(1)

        update = DataUpdate(
            self._component(name), self._device, self._reporter, self._alarms, wait, beat
        )
        update.known = known
        accepted = await update.run(data, outcome, last)
        if update.again_s:
            due = self._clock.seconds() + update.again_s
            self._waiting[name] = [due, update.known, hashlib.sha256(data).digest()]
        elif accepted or self._state.read(name + _OFFER) in (None, data):
            self._waiting.pop(name, None)
            self._state.remove(name + _OFFER)
        return accepted or update.again_s
