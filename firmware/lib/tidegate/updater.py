"""From an offered envelope to a trial: decide, fetch, apply, check, switch.

What has been accepted is one file (the envelope) and what has arrived is another (the payload), so
a reset at any moment finds the way again: the envelope is verified anew, the fetch resumes,
applying starts over into the same slot.
"""

import asyncio
import gc
import hashlib

import bspatch
import cbor

from tidegate import alarms, console, envelope, reports
from tidegate.clock import const, ticks_diff, ticks_ms
from tidegate.reports import Failure
from tidegate.staging import Interrupted
from tidegate.suit import Processor

OFFER = "offer.suit"  # the accepted envelope
UPDATE = "update"  # [manifest digest, sequence] of it, for reports after a reset

_NEXT = [b"next"]
_RUN = [b"run"]
_PAYLOADS = "p/"  # folder of the payloads, relative to the configured server
_PATCH_FORMAT = const(1)
_RUNNING_INDEX = const(1)
_BACKOFF_S = const(2)  # pause after a failed fetch, doubled each time
_BACKOFF_MOST_S = const(300)
_PROGRESS_MS = const(3000)  # between two progress reports
_FLUSH_S = const(5)  # for the last reports before the reset
_COPY = const(1024)  # bytes


class Superseded(Exception):
    """Another offer came while this one waited for the network."""


class Identity:
    """What this device is to a manifest: the target of suit.Processor."""

    components = (_NEXT, _RUN)

    def __init__(self, boot, vendor_id, class_id):
        self.vendor_id = vendor_id
        self.class_id = class_id
        self._boot = boot

    def matches(self, component, digest, size):
        if component == _RUN:  # the loader has just compared the slot with these
            running = self._boot.running
            return size == running.size and digest == running.digest
        return size <= self._boot.other_slot_size and self._boot.other_digest(size) == digest


class _Plan:
    """An accepted offer: the manifest, its processor stopped at the fetch, and the fetch."""

    def __init__(self, manifest, processor, steps, fetch):
        self.manifest = manifest
        self.processor = processor
        self.steps = steps
        self.digest = fetch.digest
        self.size = fetch.size
        self.is_patch = fetch.arguments is not None
        if self.is_patch:
            self.payload, self.payload_size = _patch_arguments(fetch.arguments)
            address = _PAYLOADS  # the arguments complete it: docs/decisions/0005
        else:
            self.payload, self.payload_size = fetch.digest, fetch.size
            address = _PAYLOADS + "".join("%02x" % byte for byte in self.payload)
        if fetch.uri != address:
            raise Failure(
                reports.UNSUPPORTED, "a payload is named by its digest", reports.SUIT_PARAMETER
            )


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
        self._refused = None  # hash of the last envelope that this boot has answered for good
        self.settled = None

    def offer(self, data):
        """Takes an envelope (bytes) from the network; the newest counts. Cheap: called from the
        MQTT reader.
        """
        self._inbox = data
        self._arrived.set()

    async def run(self, beat):
        """The task: goes on with a stored offer, then waits for others."""
        while True:
            data, self._inbox = self._inbox, None
            stored = self._state.read(OFFER)
            if data is None and stored is None:
                self._arrived.clear()
                await beat.wait(self._arrived)
                continue
            gc.collect()
            try:
                await self._consider(data or stored, stored, beat)
            except Superseded:
                console.info("another offer came")

    async def _consider(self, data, stored, beat):
        seen = hashlib.sha256(data).digest()
        if seen == self._refused:
            return
        beat()
        try:
            plan = self._decide(data)
        except Failure as failure:
            self._refuse(failure, seen)
            if data == stored:
                self._state.remove(OFFER)
            return
        if plan is None:
            self._refused = seen
            self._clear()
            return
        self._active = seen
        try:
            await self._carry_out(plan, data, data == stored, beat)
        except Failure as failure:
            self._give_up(plan, failure)
        except MemoryError:
            self._give_up(plan, Failure(reports.MEMORY, "out of memory"))
        except OSError as error:
            self._give_up(plan, Failure(reports.STORAGE, "%r" % error))
        finally:
            self._active = None

    # ------------------------------------------------------------ decide

    def _decide(self, data):
        """The _Plan of an envelope; None if it is what runs; raises Failure."""
        running = self._boot.running
        self.sequence, self.manifest_digest = 0, None
        manifest = envelope.authenticate(data, self._trust, self._boot.watchdog.feed)
        self.sequence, self.manifest_digest = manifest.sequence, manifest.digest
        processor = Processor(manifest, self._identity)
        steps = processor.install()
        fetch = next(steps, None)
        if fetch is None or fetch.component != _NEXT:
            raise Failure(
                reports.UNSUPPORTED, "the manifest installs nothing", reports.SUIT_COMPONENT
            )
        if fetch.digest == running.digest:
            if fetch.digest != self.settled:
                self._reporter.report(reports.CURRENT, manifest.sequence, manifest.digest)
            return None
        if manifest.sequence < self._boot.sequence_floor or manifest.sequence == running.sequence:
            floor = self._boot.sequence_floor
            raise Failure(
                reports.OLDER, "sequence %d is not newer than %d" % (manifest.sequence, floor)
            )
        if self._boot.is_bad(fetch.digest):
            raise Failure(
                reports.FAILED_BEFORE, "failed its trial on this device; not tried again"
            )
        if fetch.size > self._boot.other_slot_size:
            room = self._boot.other_slot_size
            raise Failure(reports.NO_SPACE, "image of %d bytes, slot of %d" % (fetch.size, room))
        return _Plan(manifest, processor, steps, fetch)

    def _refuse(self, failure, seen):
        self._refused = seen
        if failure.code == reports.FAILED_BEFORE:
            # Its end is known: it stays rolled back, and once a boot is enough to say so.
            if not self.settled:
                self._reporter.report(
                    reports.ROLLED_BACK, self.sequence, self.manifest_digest, failure=failure
                )
            return
        console.info("offer refused: %s: %s", failure.word, failure.detail)
        self._reporter.report(
            reports.REFUSED, self.sequence, self.manifest_digest, failure=failure
        )
        self._alarms.raise_(alarms.OFFER_REFUSED, failure.word, failure.detail)

    # ------------------------------------------------------------ carry out

    async def _carry_out(self, plan, data, resumed, beat):
        manifest = plan.manifest
        what = "patch" if plan.is_patch else "image"
        if resumed:
            console.info("going on with the update to sequence %d", manifest.sequence)
        else:
            self._state.store(UPDATE, [manifest.digest, manifest.sequence])
            self._state.write(OFFER, data)
            console.info(
                "sequence %d offered, %s of %d bytes", manifest.sequence, what, plan.payload_size
            )
            self._reporter.report(reports.OFFERED, manifest.sequence, manifest.digest, detail=what)
        path = await self._bring(plan, beat)
        self._reporter.report(reports.APPLYING, manifest.sequence, manifest.digest, detail=what)
        await beat.sleep(0)
        gc.collect()
        self._write_slot(plan, path)
        beat()
        if next(plan.steps, None) is not None:
            raise Failure(reports.UNSUPPORTED, "one fetch a manifest", reports.SUIT_COMMAND)
        plan.processor.validate()
        self._boot.arm_trial(plan.size, plan.digest, manifest.sequence)
        self._staging.forget()
        console.info("sequence %d installed; restart for its trial", manifest.sequence)
        self._reporter.report(reports.INSTALLED, manifest.sequence, manifest.digest)
        await self._outbox.flush(_FLUSH_S)
        self._boot.reset()

    async def _bring(self, plan, beat):
        """The path of the staged payload. Waits out a network that is away; leaves when another
        offer comes.
        """
        pause = _BACKOFF_S
        mistakes = 0
        progress = _Progress(self._reporter, plan, beat)
        self._reporter.report(reports.FETCHING, plan.manifest.sequence, plan.manifest.digest)
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
                if hashlib.sha256(self._inbox).digest() != self._active:
                    raise Superseded
                self._inbox = None
                return
            await beat.sleep(1)

    def _write_slot(self, plan, path):
        """Makes the new image in the other slot, from the patch or from the staged image."""
        running = self._boot.running
        writer = self._boot.slot_writer(plan.size)
        try:
            with open(path, "rb") as file:
                if plan.is_patch:
                    header = bspatch.header(file)
                    _check_header(header, running, plan)
                    bspatch.apply(
                        self._boot.read_running, running.size, file, writer.write, plan.size
                    )
                else:
                    _copy(file, writer)
            writer.finish(plan.digest)
        except bspatch.PatchError as error:
            raise Failure(reports.PATCH, "the patch does not apply: %s" % error)
        except self._boot.SlotError as error:
            raise Failure(reports.IMAGE_DIGEST, str(error))

    def _give_up(self, plan, failure):
        console.error("update to sequence %d failed: %s", plan.manifest.sequence, failure.detail)
        self._clear()
        self._reporter.report(
            reports.FAILED, plan.manifest.sequence, plan.manifest.digest, failure=failure
        )

    def _clear(self):
        self._state.remove(OFFER)
        self._staging.forget()


class _Progress:
    """Checks in and reports as bytes arrive, every few seconds."""

    def __init__(self, reporter, plan, beat):
        self._reporter = reporter
        self._plan = plan
        self._beat = beat
        self._last = ticks_ms()

    def at(self, done):
        self._beat()
        if ticks_diff(ticks_ms(), self._last) >= _PROGRESS_MS:
            self._last = ticks_ms()
            manifest = self._plan.manifest
            self._reporter.report(
                reports.FETCHING,
                manifest.sequence,
                manifest.digest,
                progress=(done, self._plan.payload_size),
            )


def _patch_arguments(data):
    """(SHA-256, size) of the patch in fetch-arguments."""
    try:
        values = cbor.loads(data)
    except cbor.CborError as error:
        raise Failure(reports.MALFORMED, "fetch arguments: %s" % error, reports.SUIT_PARAMETER)
    if not isinstance(values, dict) or set(values) != {1, 2, 3, 4}:
        raise Failure(
            reports.UNSUPPORTED, "fetch arguments of another form", reports.SUIT_PARAMETER
        )
    size, digest = values[3], values[4]
    if values[1] != _PATCH_FORMAT or values[2] != _RUNNING_INDEX:
        raise Failure(reports.UNSUPPORTED, "patch format %r" % values[1], reports.SUIT_PARAMETER)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise Failure(reports.MALFORMED, "patch size %r" % size, reports.SUIT_PARAMETER)
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise Failure(reports.MALFORMED, "patch digest", reports.SUIT_PARAMETER)
    return digest, size


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
