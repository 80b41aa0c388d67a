"""From an offered envelope to a trial: decide, fetch, apply, check, switch.

What has been accepted is one file (the envelope) and what has arrived is another (the payload), so
a reset at any moment finds the way again: the envelope is verified anew, the fetch resumes,
applying starts over into the same slot.
"""

import asyncio
import gc
import hashlib

import bspatch

from tidegate import alarms, console, envelope, reports
from tidegate.clock import const, ticks_diff, ticks_ms
from tidegate.plan import Plan
from tidegate.reports import Failure
from tidegate.staging import Interrupted

OFFER = "offer.suit"  # the accepted envelope
UPDATE = "update"  # [manifest digest, sequence] of it, for reports after a reset

_BACKOFF_S = const(2)  # pause after a failed fetch, doubled each time
_BACKOFF_MOST_S = const(300)
_PROGRESS_MS = const(3000)  # between two progress reports
_FLUSH_S = const(5)  # for the last reports before the reset
_COPY = const(1024)  # bytes


class Superseded(Exception):
    """Another offer came while this one waited for the network."""


class Updater:
    """Takes offers, one at a time. settled: digest of an image whose end this boot has already
    reported.
    """

    def __init__(self, boot, state, trust, identity, staging, reporter, alarms_, outbox):
        self._boot = boot
        self._state = state
        self._trust = trust
        self._identity = identity
        self._staging = staging
        self._reporter = reporter
        self._alarms = alarms_
        self._outbox = outbox
        self._arrived = asyncio.Event()
        self._inbox = None
        self._active = None  # hash of the envelope at work
        self._answered = None  # hash of the last envelope that came to an end, whatever end
        self._refused = None  # hash of the last one that would come to no other end in this boot
        self._manifest = None  # at work, once it is authentic
        self._plan = None  # at work, once it is accepted
        self._image = None  # digest of the image of the last authentic manifest
        self._doubt = False  # the trust store changed since the envelope at work was accepted
        self.settled = None

    def offer(self, data):
        """Takes an envelope (bytes) from the network; the newest counts. Cheap: called from the
        MQTT reader.
        """
        self._inbox = data
        self._arrived.set()

    def trust_changed(self):
        """Other keys count from now on: what was refused may be offered again, and what is at work
        must pass again.
        """
        self._refused = None
        self._doubt = True

    async def run(self, beat):
        """The task: goes on with a stored offer, then waits for others."""
        while True:
            data, self._inbox = self._inbox, None
            stored = self._state.read(OFFER)
            if data is None and stored and _hash(stored) != self._answered:
                data = stored
            if data is None:
                self._arrived.clear()
                await beat.wait(self._arrived)
                continue
            gc.collect()
            try:
                await self._consider(data, data == stored, beat)
            except Superseded:
                console.info("another offer came")

    async def _consider(self, data, resumed, beat):
        self._active = _hash(data)
        if self._active == self._refused:
            return
        beat()
        self._plan = self._manifest = None
        try:
            self._decide(data)
            if self._plan is None:
                self._refused = self._active
                self._clear()
            else:
                await self._carry_out(data, resumed, beat)
        except Failure as failure:
            self._fail(failure, resumed)
        except MemoryError as error:
            self._fail(Failure(reports.MEMORY, "out of memory: %s" % error), resumed)
        except OSError as error:
            self._fail(Failure(reports.STORAGE, "%r" % error), resumed)
        self._answered = self._active

    # ------------------------------------------------------------ decide

    def _decide(self, data):
        """Makes the plan, or leaves it None if the image runs already; raises Failure."""
        self._doubt = False
        try:
            self._manifest = envelope.authenticate(data, self._trust, self._boot.watchdog.feed)
            plan = Plan(self._manifest, self._identity)
        except (Failure, MemoryError):
            raise
        except Exception as error:
            # A retained offer comes back after each reset: whatever it does to us, it is only
            # refused.
            raise Failure(reports.MALFORMED, "%s: %s" % (type(error).__name__, error))
        self._image = plan.digest
        if plan.digest != self._boot.running.digest:
            plan.check(self._boot)
            self._plan = plan
            return
        # An old image under a new number (a rollback) shuts the way to what lies between.
        self._boot.raise_floor(self._manifest.sequence)
        if plan.digest != self.settled:
            self._report(reports.CURRENT)

    def _fail(self, failure, resumed):
        """Reports why it goes no further: refused before anything was changed, failed after."""
        if self._plan:
            console.error("update failed: %s: %s", failure.word, failure.detail)
            self._clear()
            self._report(reports.FAILED, failure=failure)
            return
        self._refused = self._active
        if resumed:
            self._clear()
        if failure.code == reports.FAILED_BEFORE:
            # Its end is known: it stays rolled back, and to say so once a boot is enough.
            if self._image != self.settled:
                self._report(reports.ROLLED_BACK, failure=failure)
            return
        console.info("offer refused: %s: %s", failure.word, failure.detail)
        self._report(reports.REFUSED, failure=failure)
        self._alarms.raise_(alarms.OFFER_REFUSED, failure.word, failure.detail)

    def _report(self, phase, **more):
        """A report about the manifest at work; sequence number 0 if it could not be read."""
        manifest = self._manifest
        sequence, digest = (manifest.sequence, manifest.digest) if manifest else (0, None)
        self._reporter.report(phase, sequence, digest, **more)

    # ------------------------------------------------------------ carry out

    async def _carry_out(self, data, resumed, beat):
        plan, sequence = self._plan, self._manifest.sequence
        what = "patch" if plan.is_patch else "image"
        if resumed:
            console.info("going on with the update to sequence %d", sequence)
        else:
            self._state.store(UPDATE, [self._manifest.digest, sequence])
            self._state.write(OFFER, data)
            console.info("sequence %d offered, %s of %d bytes", sequence, what, plan.payload_size)
            self._report(reports.OFFERED, detail=what)
        path = await self._bring(plan, beat)
        self._report(reports.APPLYING, detail=what)
        await beat.sleep(0)
        gc.collect()
        self._write_slot(plan, path)
        beat()
        plan.finish()
        if self._doubt:  # a key that signed this may have been dropped since
            envelope.authenticate(data, self._trust, self._boot.watchdog.feed)
        self._boot.arm_trial(plan.size, plan.digest, sequence, data)
        self._staging.forget()
        console.info("sequence %d installed; restart for its trial", sequence)
        self._report(reports.INSTALLED)
        await self._outbox.flush(_FLUSH_S)
        self._boot.reset()

    async def _bring(self, plan, beat):
        """The path of the staged payload. Waits out a network that is away; leaves when another
        offer comes.
        """
        pause = _BACKOFF_S
        mistakes = 0
        progress = _Progress(self._report, plan.payload_size, beat)
        self._report(reports.FETCHING)
        while True:
            try:
                return await self._staging.fetch(plan.payload, plan.payload_size, progress.at)
            except Failure as failure:
                mistakes += 1
                # Once more from the start: what is wrong may be what an earlier attempt left.
                if failure.code != reports.PAYLOAD_DIGEST or mistakes > 1:
                    raise
            except Interrupted as error:
                console.info("fetch interrupted: %s; again in %d s", error, pause)
                await self._pause(pause, beat)
                pause = min(2 * pause, _BACKOFF_MOST_S)

    async def _pause(self, seconds, beat):
        """Sleeps; an offer of the same envelope ends the pause, another one ends this update."""
        for _ in range(seconds):
            if self._inbox is not None:
                if _hash(self._inbox) != self._active:
                    raise Superseded
                self._inbox = None
                return
            await beat.sleep(1)

    def _write_slot(self, plan, path):
        """Makes the new image in the other slot, from the patch or from the staged image."""
        running = self._boot.running
        try:
            writer = self._boot.slot_writer(plan.size)
            with open(path, "rb") as file:
                if plan.is_patch:
                    header = bspatch.header(file)
                    _check_header(header, running, plan)
                    read, write = self._boot.read_running, writer.write
                    bspatch.apply(read, running.size, file, write, plan.size, codec=header.codec)
                else:
                    _copy(file, writer)
            writer.finish(plan.digest)
        except bspatch.PatchError as error:
            raise Failure(reports.PATCH, "the patch does not apply: %s" % error)
        except self._boot.SlotError as error:
            raise Failure(reports.IMAGE_DIGEST, str(error))

    def _clear(self):
        self._state.remove(OFFER)
        self._staging.forget()


class _Progress:
    """Checks in and reports as bytes arrive, every few seconds."""

    def __init__(self, report, total, beat):
        self._report = report
        self._total = total
        self._beat = beat
        self._last = ticks_ms()

    def at(self, done):
        self._beat()
        if ticks_diff(ticks_ms(), self._last) >= _PROGRESS_MS:
            self._last = ticks_ms()
            self._report(reports.FETCHING, progress=(done, self._total))


def _hash(data):
    return hashlib.sha256(data).digest()


def _check_header(header, running, plan):
    """The patch's own word on its images; the signed manifest has decided already, this tells a
    mix-up apart.
    """
    if header.old_size != running.size or header.old_check != running.digest[:4]:
        raise bspatch.PatchError("made for another base")
    if header.new_size != plan.size or header.new_check != plan.digest[:4]:
        raise bspatch.PatchError("makes another image")


def _copy(file, writer):
    buffer = bytearray(_COPY)
    view = memoryview(buffer)
    while True:
        count = file.readinto(buffer)
        if not count:
            return
        writer.write(view[:count])
