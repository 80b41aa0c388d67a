"""The update of the image: decide, fetch, apply to the other slot, check, switch.

The accepted envelope is one file and the payload so far another, so that a reset at any moment
resumes: the envelope is verified again, the fetch continues, applying starts over into the same
slot.
"""

import gc

from gate import console, ondemand
from gate.clock import const, ticks_diff, ticks_ms
from gate.reporting import reports
from gate.update import OFFER, accepted, failures, retry, staged
from gate.update.failures import Failure
from gate.update.offer_run import OfferRun

_PROGRESS_MS = const(3000)  # between two progress reports
_COPY = const(1024)  # bytes
_DECIDING = "gate.update.needs gate.update.suit_processor"
WAITING = "waiting for the application"  # as the server shows it, docs/reports.md
_ALONE = "the new image had no broker, and the old one after it has: it is tried again seldom"


class Install(OfferRun):
    """One offer of an image. keys_changed: the trust store changed since it was verified; settled:
    digest of an image whose end this boot has already reported, or None; at_once: whether the
    broker was there right after this boot began; waited: the pause before its trial is over;
    left(digest): the seconds left of the pause that an earlier attempt with this image began;
    restart: gate.update.restart.Restart, or None; remark: said when it is installed, or None;
    unready: after the run, whether the image is installed and waits for the application.
    """

    def __init__(self, boot, state, device, reporter, alarms, wait, leave, beat):
        """boot: boot.api.Boot; state: SmallFiles of the agent's state; leave(beat), or None: a
        coroutine function to finish what the reset would interrupt. The rest: OfferRun.
        """
        super().__init__(device, state, reporter, alarms, wait, beat)
        self._boot = boot
        self._leave = leave
        self._resumed = False
        self._image = None  # digest of the manifest's image
        self.settled = None
        self.keys_changed = False
        self.at_once = False
        self.waited = False
        self.left = lambda digest: 0
        self.restart = None
        self.remark = None
        self.unready = False

    def resume(self):
        """Marks the offer as accepted before a reset."""
        self._resumed = True

    def decide(self, manifest, data):
        """The Plan, or None if the image runs already; raises Failure."""
        from gate.update import needs
        from gate.update.plan import Identity, Plan

        plan = Plan(manifest, Identity(self._boot, self._device))
        self._image = plan.digest
        if plan.digest != self._boot.running.digest:
            plan.check(self._boot)
            restart_s = needs.check(data, self._boot.running.sequence)
            if self.restart:
                self.restart.limit_s = restart_s
            return plan
        # An old image under a new number (a rollback) rules out what lies between.
        self._boot.raise_floor(manifest.sequence)
        if plan.digest != self.settled:
            self.report(reports.CURRENT)
        return None

    def keep(self, data):
        if not self._resumed:
            accepted.store(self._files, self._manifest, data)

    def discard(self):
        self._files.remove(OFFER)
        staged.forget(self._files)

    def may_begin(self, plan):
        """Whether the image may be brought here now. After a trial that ended for a reason outside
        of it that is later: then it sets again_s.
        """
        self.know(plan.digest)
        if self.waited:
            retry.waited(self._files, self.record, self.known)
            return True
        self.again_s = self.left(plan.digest)
        if self.again_s:
            return False
        self.again_s = retry.wait(
            self._files, self.record, self.known, self.at_once, self._device.random
        )
        if self.again_s and retry.is_alone(self.known):
            failure = failures.trial_failure("timeout", _ALONE)
            self.report(reports.ROLLED_BACK, failure=failure, again=self.again_s)
        return not self.again_s

    def fail(self, failure):
        if not self.set_aside(failure) and (self._accepted or self._resumed):
            self.discard()
        if not self._accepted and failure.code == failures.FAILED_BEFORE:
            # It stays rolled back; one report per boot is enough.
            if self._image != self.settled:
                self.report(reports.ROLLED_BACK, failure=failure)
            return
        super().fail(failure)

    async def apply(self, plan, data):
        """Ends with a reset into the trial, unless the application is not ready for it."""
        if not self._is_installed(plan):
            await self._bring(plan, data)
        if self.keys_changed:  # the store may have dropped a key that signed this
            from gate.update import verified

            verified.manifest(data, self._device)
        if self.restart and not self.restart.allows():
            self.unready = True
            if not self.restart.waits_for(plan.digest):
                self.restart.begin(plan.digest)
                console.info("sequence %d: %s", self._manifest.sequence, WAITING)
                self.report(reports.APPLYING, detail=WAITING, again=self.restart.longest_s())
            return
        await self._switch(plan, data)

    async def _bring(self, plan, data):
        """Fetches the payload and writes the other slot."""
        sequence = self._manifest.sequence
        what = "patch" if plan.is_patch else "image"
        if self._resumed:
            console.info("resuming the update to sequence %d", sequence)
        else:
            accepted.store(self._files, self._manifest, data)
            console.info("sequence %d offered, %s of %d bytes", sequence, what, plan.payload_size)
            self.report(reports.OFFERED, detail=what)
        ondemand.modules.drop(_DECIDING)
        progress = _Progress(self.report, plan.payload_size, self._beat)
        path = await self.fetch(plan.payload, plan.payload_size, progress.at)
        self.report(reports.APPLYING, detail=what)
        self._beat()
        await ondemand.clear_stack()
        gc.collect()
        self._write_slot(plan, path)
        self._beat()
        plan.finish()

    def _is_installed(self, plan):
        """Whether the other slot holds the image already, from before it waited."""
        if not self.restart or not self.restart.waits_for(plan.digest):
            return False
        try:
            return self._boot.other_digest(plan.size) == plan.digest
        except (OSError, self._boot.SlotError):  # it is written anew
            return False

    async def _switch(self, plan, data):
        sequence = self._manifest.sequence
        # An older loader takes no patience, and bans an image whatever its trial failed at.
        patient = (True,) if hasattr(self._boot, "AWAY") else ()
        self._boot.arm_trial(plan.size, plan.digest, sequence, data, *patient)
        staged.forget(self._files)
        detail = self.remark
        if self.restart:
            if self.restart.overdue:
                waited = self.restart.waited_s() or 0
                detail = "the application was not ready for %d s; restarted all the same" % waited
                console.error("%s", detail)
            self.restart.end()
        console.info("sequence %d installed; restart for its trial", sequence)
        self.report(reports.INSTALLED, detail=detail)
        if self._leave:
            await self._leave(self._beat)
        self._boot.reset()

    def _write_slot(self, plan, path):
        """Writes the new image to the other slot, from the patch or from the staged image."""
        import bspatch

        running = self._boot.running
        try:
            writer = self._boot.slot_writer(plan.size)
            with open(path, "rb") as file:
                if plan.is_patch:
                    header = bspatch.header(file)
                    wrong = _mix_up(header, running, plan)
                    if wrong:
                        raise bspatch.PatchError(wrong)
                    read, write = self._boot.read_running, writer.write
                    bspatch.apply(read, running.size, file, write, plan.size, codec=header.codec)
                else:
                    _copy(file, writer)
            writer.finish(plan.digest)
        except bspatch.PatchError as error:
            raise Failure(failures.PATCH, "the patch does not apply: %s" % error)
        except self._boot.SlotError as error:
            # An older loader knows one kind.
            firmware = getattr(error, "firmware", False)
            raise Failure(failures.NEEDS if firmware else failures.IMAGE_DIGEST, str(error))


class _Progress:
    """Checks in as bytes arrive, and reports every few seconds."""

    def __init__(self, report, total, beat):
        self._report = report
        self._total = total
        self._beat = beat
        self._last = ticks_ms()

    def at(self, done):
        self._beat()
        if not 0 <= ticks_diff(ticks_ms(), self._last) < _PROGRESS_MS:  # below 0: days ago
            self._last = ticks_ms()
            self._report(reports.FETCHING, progress=(done, self._total))


def _mix_up(header, running, plan):
    """How a patch's header differs from the images, or None. The signed manifest has decided
    already what belongs together.
    """
    if header.old_size != running.size or header.old_check != running.digest[:4]:
        return "made for another base"
    if header.new_size != plan.size or header.new_check != plan.digest[:4]:
        return "makes another image"
    return None


def _copy(file, writer):
    buffer = bytearray(_COPY)
    view = memoryview(buffer)
    while True:
        count = file.readinto(buffer)
        if not count:
            return
        writer.write(view[:count])
