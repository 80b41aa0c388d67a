"""From one offered envelope to a trial: decide, fetch, apply, check, switch.

What has been accepted is one file (the envelope) and what has arrived is another (the payload), so
a reset at any moment finds the way again: the envelope is verified anew, the fetch resumes,
applying starts over into the same slot.
"""

import gc

import bspatch

from gate import console
from gate.clock import const, ticks_diff, ticks_ms
from gate.reporting import alarms, reports
from gate.trust import storage
from gate.update import download, failures, suit_envelope
from gate.update.failures import Failure
from gate.update.offers import OFFER, UPDATE
from gate.update.plan import Identity, Plan

_BACKOFF_S = const(2)  # pause after a failed fetch, doubled each time
_BACKOFF_MOST_S = const(300)
_PROGRESS_MS = const(3000)  # between two progress reports
_FLUSH_S = const(5)  # for the last reports before the reset
_COPY = const(1024)  # bytes


class Install:
    """One offer."""

    def __init__(self, updater, data, resumed, beat):
        """updater: the gate.update.offers.Updater that took the envelope `data` (bytes); resumed:
        whether it was accepted before a reset.
        """
        self._updater = updater
        self._boot = updater.boot
        self._state = updater.state
        self._data = data
        self._resumed = resumed
        self._beat = beat
        self._manifest = None  # once it is authentic
        self._image = None  # digest of its image
        self._accepted = False

    async def run(self):
        """Brings the offer to its end, which resets the board if it is a trial. False: refused, or
        nothing new.
        """
        try:
            plan = self.decide()
            if plan:
                self._accepted = True
                await self._carry_out(plan)
            else:
                self._clear()
        except Failure as failure:
            self._fail(failure)
        except MemoryError as error:
            self._fail(Failure(failures.MEMORY, "out of memory: %s" % error))
        except OSError as error:
            self._fail(Failure(failures.STORAGE, "%r" % error))
        return self._accepted

    # ------------------------------------------------------------ decide

    def decide(self):
        """The Plan, or None if the image runs already; raises Failure."""
        try:
            manifest = self._manifest = self._authenticate()
            plan = Plan(manifest, Identity(self._boot, self._updater.device))
        except (Failure, MemoryError):
            raise
        except Exception as error:
            # A retained offer comes back after each reset: whatever it does to us, it is only
            # refused.
            raise Failure(failures.MALFORMED, "%s: %s" % (type(error).__name__, error))
        self._image = plan.digest
        if plan.digest != self._boot.running.digest:
            plan.check(self._boot)
            return plan
        # An old image under a new number (a rollback) shuts the way to what lies between.
        self._boot.raise_floor(manifest.sequence)
        if plan.digest != self._updater.settled:
            self._report(reports.CURRENT)
        return None

    def _authenticate(self):
        device = self._updater.device
        return suit_envelope.authenticate(self._data, storage.open(device), device.feed)

    def _fail(self, failure):
        """Reports why it goes no further: refused before anything was changed, failed after."""
        if self._accepted:
            console.error("update failed: %s: %s", failure.word, failure.detail)
            self._clear()
            self._report(reports.FAILED, failure=failure)
            return
        if self._resumed:
            self._clear()
        if failure.code == failures.FAILED_BEFORE:
            # Its end is known: it stays rolled back, and to say so once a boot is enough.
            if self._image != self._updater.settled:
                self._report(reports.ROLLED_BACK, failure=failure)
            return
        console.info("offer refused: %s: %s", failure.word, failure.detail)
        self._report(reports.REFUSED, failure=failure)
        self._updater.alarms.raise_(alarms.OFFER_REFUSED, failure.word, failure.detail)

    def _report(self, phase, **more):
        """A report about the manifest at work; sequence number 0 if it could not be read."""
        manifest = self._manifest
        sequence, digest = (manifest.sequence, manifest.digest) if manifest else (0, None)
        self._updater.reporter.report(phase, sequence, digest, **more)

    # ------------------------------------------------------------ carry out

    async def _carry_out(self, plan):
        sequence = self._manifest.sequence
        what = "patch" if plan.is_patch else "image"
        if self._resumed:
            console.info("going on with the update to sequence %d", sequence)
        else:
            self._state.store(UPDATE, [self._manifest.digest, sequence])
            self._state.write(OFFER, self._data)
            console.info("sequence %d offered, %s of %d bytes", sequence, what, plan.payload_size)
            self._report(reports.OFFERED, detail=what)
        path = await self._bring(plan)
        self._report(reports.APPLYING, detail=what)
        await self._beat.sleep(0)
        gc.collect()
        self._write_slot(plan, path)
        self._beat()
        plan.finish()
        if self._updater.doubt:  # a key that signed this may have been dropped since
            self._authenticate()
        self._boot.arm_trial(plan.size, plan.digest, sequence, self._data)
        download.forget(self._state)
        console.info("sequence %d installed; restart for its trial", sequence)
        self._report(reports.INSTALLED)
        await self._updater.outbox.flush(_FLUSH_S)
        if self._updater.leave:
            await self._updater.leave(self._beat)
        self._boot.reset()

    async def _bring(self, plan):
        """The path of the staged payload. Waits out a network that is away; leaves when another
        offer comes.
        """
        pause = _BACKOFF_S
        mistakes = 0
        progress = _Progress(self._report, plan.payload_size, self._beat)
        fetcher = download.Staging(self._state, self._updater.device)
        self._report(reports.FETCHING)
        while True:
            try:
                return await fetcher.fetch(plan.payload, plan.payload_size, progress.at)
            except Failure as failure:
                mistakes += 1
                # Once more from the start: what is wrong may be what an earlier attempt left.
                if failure.code != failures.PAYLOAD_DIGEST or mistakes > 1:
                    raise
            except download.Interrupted as error:
                console.info("fetch interrupted: %s; again in %d s", error, pause)
                await self._updater.pause(pause, self._beat)
                pause = min(2 * pause, _BACKOFF_MOST_S)

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
            raise Failure(failures.PATCH, "the patch does not apply: %s" % error)
        except self._boot.SlotError as error:
            raise Failure(failures.IMAGE_DIGEST, str(error))

    def _clear(self):
        self._state.remove(OFFER)
        download.forget(self._state)


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
