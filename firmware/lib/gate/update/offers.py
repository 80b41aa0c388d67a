"""Offers of releases: taken from the network one at a time, each brought to its end by
gate.update.install.
"""

import asyncio
import gc
import hashlib

from gate import console, ondemand

OFFER = "offer.suit"  # the accepted envelope
UPDATE = "update"  # [manifest digest, sequence] of it, for reports after a reset


class Superseded(Exception):
    """Another offer came while this one waited for the network."""


class Updater:
    """Takes offers. settled: digest of an image whose end this boot has already reported; doubt:
    the trust store changed since the envelope at work was accepted; leave(beat), or None: a
    coroutine function that finishes what the reset into a trial would break off.
    """

    def __init__(self, boot, state, device, reporter, alarms, outbox):
        """device: gate.device.Device."""
        self.boot = boot
        self.state = state
        self.device = device
        self.reporter = reporter
        self.alarms = alarms
        self.outbox = outbox
        self.settled = None
        self.doubt = False
        self.leave = None
        self._arrived = asyncio.Event()
        self._inbox = None
        self._active = None  # hash of the envelope at work
        self._answered = None  # hash of the last envelope that came to an end, whatever end
        self._refused = None  # hash of the last one that would come to no other end in this boot

    def offer(self, data):
        """Takes an envelope (bytes) from the network; the newest counts. Cheap: called from the
        MQTT reader.
        """
        self._inbox = data
        self._arrived.set()

    def again(self):
        """Looks at the offer again, also at one that was refused, and ends the pause of one that
        waits for the network. Whether there is one.
        """
        self._refused = self._answered = None
        data = self.state.read(OFFER)
        if data:
            self.offer(data)
        return data is not None

    def trust_changed(self):
        """Other keys count from now on: what was refused may be offered again, and what is at work
        must pass again.
        """
        self._refused = None
        self.doubt = True

    async def run(self, beat):
        """The task: goes on with a stored offer, then waits for others."""
        while True:
            data, self._inbox = self._inbox, None
            stored = self.state.read(OFFER)
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
                console.info("another offer came")

    async def _consider(self, data, resumed, beat):
        self._active = hash_of(data)
        if self._active == self._refused:
            return
        beat()
        while self.device.heavy:
            await beat.sleep(1)
        self.doubt = False
        gc.collect()
        self.device.updating += 1
        try:
            with ondemand.modules:
                if not await self._bring_to_its_end(data, resumed, beat):
                    self._refused = self._active
        finally:
            self.device.updating -= 1
        self._answered = self._active

    async def _bring_to_its_end(self, data, resumed, beat):
        """False if it was refused, or is what runs already: the same again in this boot is not
        worth a look.
        """
        from gate.update.install import Install

        return await Install(self, data, resumed, beat).run()

    async def pause(self, seconds, beat):
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
