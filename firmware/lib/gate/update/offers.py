"""Offers of releases: taken from the network one at a time, each carried to its end by
gate.update.install.
"""

import asyncio
import gc
import hashlib

from gate import console, ondemand
from gate.update import OFFER, Superseded


class Updater:
    """Takes offers of images. reporter: gate.reporting.reports.Reporter."""

    def __init__(self, boot, state, device, reporter, alarms, leave):
        """boot: boot.api.Boot; state: SmallFiles of the agent's state; device:
        gate.device.Device; leave(beat), or None: a coroutine function to finish what the reset
        into a trial would interrupt.
        """
        self.reporter = reporter
        self._boot = boot
        self._state = state
        self._device = device
        self._alarms = alarms
        self._leave = leave
        self._settled = None
        self._arrived = asyncio.Event()
        self._inbox = None
        self._install = None  # the gate.update.install.Install that runs
        self._active = None  # hash of its envelope
        self._answered = None  # hash of the last envelope that came to an end
        self._refused = None  # hash of the last one that would be refused again in this boot

    def offer(self, data):
        """Takes an envelope (bytes) from the network; it replaces one that waits. Cheap: called
        from the MQTT reader.
        """
        self._inbox = data
        self._arrived.set()

    def again(self):
        """Considers the stored offer again, even a refused one, and ends the pause of an update
        that waits for the network. Returns whether there is one.
        """
        self._refused = self._answered = None
        data = self._state.read(OFFER)
        if data:
            self.offer(data)
        return data is not None

    def trust_changed(self):
        """The trust store has changed: a refused offer may come again, and the one that runs is
        verified again.
        """
        self._refused = None
        if self._install:
            self._install.keys_changed = True

    async def run(self, beat, settled=None):
        """The task: resumes a stored offer, then waits for others. settled: digest of an image
        whose end this boot has already reported, or None.
        """
        self._settled = settled
        while True:
            data, self._inbox = self._inbox, None
            stored = self._state.read(OFFER)
            if data is None and stored and hash_of(stored) != self._answered:
                data = stored
            if data is None:
                self._arrived.clear()
                await beat.wait(self._arrived)
                continue
            resumed = data == stored
            stored = None
            try:
                await self._consider(data, resumed, beat)
            except Superseded:
                console.info("a newer offer arrived")

    async def _consider(self, data, resumed, beat):
        self._active = hash_of(data)
        if self._active == self._refused:
            return
        beat()
        while self._device.heavy:
            await beat.sleep(1)
        gc.collect()
        self._device.updating += 1
        try:
            with ondemand.modules:
                if not await self._run(data, resumed, beat):
                    self._refused = self._active
        finally:
            self._device.updating -= 1
        self._answered = self._active

    async def _run(self, data, resumed, beat):
        """Returns False if the offer was refused, or is the image that runs: the same offer is not
        considered again in this boot.
        """
        from gate.update.install import Install

        install = self._install = Install(
            self._boot,
            self._state,
            self._device,
            self.reporter,
            self._alarms,
            self._pause,
            self._leave,
            beat,
        )
        install.settled = self._settled
        if resumed:
            install.resume()
        try:
            return await install.run(data)
        finally:
            self._install = None

    async def _pause(self, seconds, beat):
        """Sleeps; an offer of the same envelope ends the pause, another one ends this update by
        Superseded.
        """
        for _ in range(seconds):
            if self._inbox is not None:
                if hash_of(self._inbox) != self._active:
                    raise Superseded
                self._inbox = None
                return
            await beat.sleep(1)


def hash_of(data):
    return hashlib.sha256(data).digest()
