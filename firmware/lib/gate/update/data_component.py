"""One data component: its files, and one offer of new content to its end.

A component is one file and a small record of what it holds. New content is staged, verified,
renamed into its place, and shown to the application; only when the application takes it does the
record, in one atomic write, call it current. Until then, and whatever is cut, the old content is.
"""

import gc
import hashlib
import os

from gate import console
from gate.clock import const
from gate.reporting import alarms, reports
from gate.trust import storage
from gate.update import download, failures, suit_envelope
from gate.update.data_offers import CURRENT, FLOOR, TRIAL
from gate.update.failures import Failure
from gate.update.suit_processor import Processor

_DATA = b"data"  # first part of a component's id, its name is the second
_ATTEMPTS = const(3)  # times new content may be shown to the application without an answer
_BACKOFF_S = const(2)  # pause after a failed fetch, doubled each time
_BACKOFF_MOST_S = const(300)
_BLOCK = const(512)  # bytes hashed at a time


class _Target:
    """What suit.Processor asks about one component."""

    def __init__(self, device, component, holds):
        self.vendor_id = device.vendor_id
        self.class_id = device.class_id
        self.components = (component,)
        self._holds = holds

    def matches(self, component, digest, size):
        return self._holds(digest, size)


class Component:
    """One component's content."""

    def __init__(self, name, take, state, feed):
        """take: the application's function(path), see gate.update.data_offers; state: SmallFiles
        of the folder of the components; feed(): called per block of work.
        """
        self.name = name
        self.state = state
        self._take = take
        self._feed = feed

    def open(self):
        """Shows the application what is here; [(reason, detail)] of what is wrong with it."""
        problems = []
        kept = self.kept()
        current = kept.get(CURRENT)
        if current and not self.holds(current[1], current[2]):
            console.error("data %s is damaged and not used", self.name)
            problems.append(("damaged", self.name))
            del kept[CURRENT]
            self.state.store(self.name, kept)
        self.clean(kept)
        refused = self.show(kept.get(CURRENT))
        if refused:
            problems.append(("rejected", "%s: %s" % (self.name, refused)))
        return problems

    def kept(self):
        """Its record; {} if there is none."""
        kept = self.state.load(self.name)
        return kept if isinstance(kept, dict) else {}

    def file(self, digest):
        """The name of the file of content with this SHA-256."""
        return self.name + "." + "".join("%02x" % byte for byte in digest[:8])

    def holds(self, digest, size):
        """Whether the content is here, whole."""
        path = self.file(digest)
        if self.state.size(path) != size:
            return False
        check, block = hashlib.sha256(), bytearray(_BLOCK)
        view = memoryview(block)
        with open(self.state.path(path), "rb") as file:
            while True:
                self._feed()
                count = file.readinto(block)
                if not count:
                    return check.digest() == digest
                check.update(view[:count])

    def clean(self, kept):
        """Removes what a cut or an ended update left of the component."""
        current = kept.get(CURRENT)
        keep = self.file(current[1]) if current else None
        for found in self.state.names():
            if found.startswith(self.name + ".") and found != keep:
                self.state.remove(found)

    def show(self, entry):
        """Has the application take the content; why it does not, or None."""
        path = self.state.path(self.file(entry[1])) if entry else None
        self._feed()
        try:
            if self._take(path) is False:
                return "the application refuses it"
        except Exception as error:
            return "%s: %s" % (type(error).__name__, error)
        return None


class Offer:
    """One offer of new content."""

    def __init__(self, owner, name, beat):
        """owner: the gate.update.data_offers.Data that took it."""
        self._owner = owner
        self._here = owner.component(name)
        self._name = name
        self._beat = beat
        self._manifest = None
        self._begun = False
        self._shown = False

    async def carry_out(self, data, last):
        """last: whether a lack of memory is reported, and not raised for another attempt."""
        try:
            entry, steps, processor = self._decide(data)
            if entry:
                await self._install(entry, steps, processor)
        except Failure as failure:
            self._fail(failure)
        except MemoryError:
            if not last:
                raise
            self._fail(Failure(failures.MEMORY, "out of memory"))
        except OSError as error:
            self._fail(Failure(failures.STORAGE, "%r" % error))

    def _decide(self, data):
        """([sequence, digest, size], steps, processor), or Nones if it is what is here."""
        here, name = self._here, self._name
        device = self._owner.device
        manifest = self._manifest = suit_envelope.authenticate(
            data, storage.open(device), device.feed
        )
        processor = Processor(manifest, _Target(device, [_DATA, name.encode()], here.holds))
        steps = processor.install()
        fetch = next(steps, None)
        if fetch is None or fetch.arguments is not None:
            raise Failure(failures.UNSUPPORTED, "data is fetched whole", failures.SUIT_COMMAND)
        if fetch.uri != "p/" + "".join("%02x" % byte for byte in fetch.digest):
            raise Failure(
                failures.UNSUPPORTED, "a payload is named by its digest", failures.SUIT_PARAMETER
            )
        kept = here.kept()
        current, floor = kept.get(CURRENT), kept.get(FLOOR, 0)
        if current and fetch.digest == current[1]:
            if manifest.sequence > floor:
                kept[FLOOR] = current[0] = manifest.sequence
                here.state.store(name, kept)
            self._report(reports.CURRENT)
            return None, None, None
        # Damaged content may come again under its own number.
        if manifest.sequence < floor or (manifest.sequence == floor and (current or not floor)):
            raise Failure(
                failures.OLDER, "sequence %d is not newer than %d" % (manifest.sequence, floor)
            )
        return [manifest.sequence, fetch.digest, fetch.size], steps, processor

    async def _install(self, entry, steps, processor):
        here, name = self._here, self._name
        self._begun = True
        self._report(reports.OFFERED, detail="data %s" % name)
        if not here.holds(entry[1], entry[2]):
            path = await self._bring(entry)
            os.rename(path, here.state.path(here.file(entry[1])))
        self._report(reports.APPLYING)
        if next(steps, None) is not None:
            raise Failure(failures.UNSUPPORTED, "one fetch a manifest", failures.SUIT_COMMAND)
        processor.validate()
        self._switch(entry)

    def _switch(self, entry):
        here, name = self._here, self._name
        kept = here.kept()
        trial = kept.get(TRIAL)
        attempts = trial[1] if trial and trial[0] == entry[0] else 0
        problem = "no answer in %d attempts" % attempts
        if attempts < _ATTEMPTS:  # counted first: the application may hang over it
            kept[TRIAL] = [entry[0], attempts + 1]
            here.state.store(name, kept)
            self._shown = True
            problem = here.show(entry)
        kept.pop(TRIAL)
        kept[FLOOR] = entry[0]
        if problem is None:
            kept[CURRENT] = entry
        here.state.store(name, kept)  # the switch
        here.clean(kept)
        if problem is None:
            console.info("data %s is now sequence %d", name, entry[0])
            self._report(reports.CONFIRMED)
            return
        again = here.show(kept.get(CURRENT))
        if again:
            console.error("data %s: the old content is refused, too: %s", name, again)
        failure = Failure(failures.REJECTED, problem)
        self._report(reports.ROLLED_BACK, failure=failure)
        self._owner.alarms.raise_(alarms.DATA_REFUSED, failure.word, "%s: %s" % (name, problem))

    async def _bring(self, entry):
        """The path of the staged content; waits out a network that is away."""
        pause = _BACKOFF_S
        mistakes = 0
        self._report(reports.FETCHING)
        fetcher = download.Staging(self._here.state, self._owner.device)
        gc.collect()  # what the signature left, before anything lasting comes to lie above it
        while True:
            try:
                return await fetcher.fetch(entry[1], entry[2], self._progress)
            except Failure as failure:
                mistakes += 1
                if failure.code != failures.PAYLOAD_DIGEST or mistakes > 1:
                    raise
            except download.Interrupted as error:
                console.info("fetch interrupted: %s; again in %d s", error, pause)
                await self._owner.pause(self._name, pause, self._beat)
                pause = min(2 * pause, _BACKOFF_MOST_S)

    def _progress(self, done):
        self._beat()

    def _fail(self, failure):
        console.error("data %s: %s: %s", self._name, failure.word, failure.detail)
        if self._shown:  # the switch itself failed: what counts is the old content
            self._here.show(self._here.kept().get(CURRENT))
        if self._begun:
            self._report(reports.FAILED, failure=failure)
            return
        self._report(reports.REFUSED, failure=failure)
        self._owner.alarms.raise_(alarms.OFFER_REFUSED, failure.word, failure.detail)

    def _report(self, phase, **more):
        manifest = self._manifest
        sequence, digest = (manifest.sequence, manifest.digest) if manifest else (0, None)
        self._owner.reporter.report(phase, sequence, digest, component=self._name, **more)
