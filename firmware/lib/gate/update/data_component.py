"""One data component: its files, and the update of its content.

A component is one file and a small record of its content. New content is staged, verified,
renamed into place, and shown to the application; only when the application accepts it does the
record, in one atomic write, call it current. Until then, whatever is interrupted, the old content
is current.
"""

import hashlib
import os

from gate import console
from gate.clock import const
from gate.reporting import alarms, reports
from gate.update import CURRENT, FLOOR, TRIAL, failures, retry
from gate.update.failures import Failure
from gate.update.offer_run import OfferRun
from gate.update.suit_processor import Processor

_DATA = b"data"  # first part of a component's id, its name is the second
_ATTEMPTS = const(3)  # times new content may be shown to the application without an answer
_BLOCK = const(512)  # bytes hashed at a time
_OFFER = ".offer"  # as in gate.update.data_offers
_RETRY = ".retry"


class _Target:
    """One component as the target of suit_processor.Processor."""

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
        of the folder of all components; feed(): called per block of work.
        """
        self.name = name
        self.state = state
        self._take = take
        self._feed = feed

    def open(self):
        """Shows the application the current content. Returns [(reason, detail)], its problems."""
        problems = []
        record = self.record()
        current = record.get(CURRENT)
        if current and not self.holds(current[1], current[2]):
            console.error("data %s is damaged and not used", self.name)
            problems.append(("damaged", self.name))
            del record[CURRENT]
            self.state.store(self.name, record)
        self.clean(record)
        refused = self.show(record.get(CURRENT))
        if refused:
            problems.append(("rejected", "%s: %s" % (self.name, refused)))
        return problems

    def record(self):
        """Its record; {} if there is none."""
        record = self.state.load(self.name)
        return record if isinstance(record, dict) else {}

    def file(self, digest):
        """The name of the file of content with this SHA-256."""
        return self.name + "." + digest[:8].hex()

    def holds(self, digest, size):
        """Whether the content is here and intact."""
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

    def clean(self, record):
        """Removes the component's files that its record does not name."""
        current = record.get(CURRENT)
        keep = self.file(current[1]) if current else None
        for found in self.state.names():
            if found.startswith(self.name + ".") and found != keep and found != self.name + _RETRY:
                self.state.remove(found)

    def forget(self):
        """Forgets what failed: content that was refused may come again, and pauses begin anew."""
        self.state.remove(self.name + _RETRY)
        record = self.record()
        current = record.get(CURRENT)
        if current and record.get(FLOOR, 0) > current[0]:
            record[FLOOR] = current[0]
            self.state.store(self.name, record)

    def keep(self, data):
        """Stores an offer that is to be tried again; if it cannot, the broker brings it again."""
        try:
            if self.state.read(self.name + _OFFER) != data:
                self.state.write(self.name + _OFFER, data)
        except OSError:
            pass

    def show(self, entry):
        """Offers the content to the application. Returns None, or why it refuses it."""
        path = self.state.path(self.file(entry[1])) if entry else None
        self._feed()
        try:
            if self._take(path) is False:
                return "the application refuses it"
        except Exception as error:
            return "%s: %s" % (type(error).__name__, error)
        return None


class DataUpdate(OfferRun):
    """One offer of new content."""

    def __init__(self, component, device, reporter, alarms, wait, beat):
        """component: the Component to update. The rest: OfferRun."""
        super().__init__(device, component.state, reporter, alarms, wait, beat)
        self.component = component.name
        self.record = component.name + _RETRY
        self._component = component
        self._shown = False
        self._data = None

    def decide(self, manifest, data):
        """([sequence, digest, size], steps, processor); None for content that is current."""
        here = self._component
        target = _Target(self._device, [_DATA, here.name.encode()], here.holds)
        processor = Processor(manifest, target)
        steps = processor.install()
        fetch = next(steps, None)
        if fetch is None or fetch.arguments is not None:
            raise Failure(failures.UNSUPPORTED, "data is fetched whole", failures.SUIT_COMMAND)
        fetch.check_address(fetch.digest.hex())
        record = here.record()
        current, floor = record.get(CURRENT), record.get(FLOOR, 0)
        if current and fetch.digest == current[1]:
            if manifest.sequence > floor:
                record[FLOOR] = current[0] = manifest.sequence
                here.state.store(here.name, record)
            self.report(reports.CURRENT)
            return None
        # Damaged content may come again under its own number.
        if manifest.sequence < floor or (manifest.sequence == floor and (current or not floor)):
            raise Failure(
                failures.OLDER, "sequence %d is not newer than %d" % (manifest.sequence, floor)
            )
        return [manifest.sequence, fetch.digest, fetch.size], steps, processor

    def may_begin(self, plan):
        self.know(plan[0][1])
        return True

    async def apply(self, plan, data):
        """Fetches the content and shows it to the application."""
        entry, steps, processor = plan
        here = self._component
        self._data = data
        if not retry.is_repeated(self.known):
            self.report(reports.OFFERED, detail="data %s" % here.name)
        if not here.holds(entry[1], entry[2]):
            path = await self.fetch(entry[1], entry[2], lambda done: self._beat())
            os.rename(path, here.state.path(here.file(entry[1])))
        self.report(reports.APPLYING)
        if next(steps, None) is not None:
            raise Failure(failures.UNSUPPORTED, "one fetch a manifest", failures.SUIT_COMMAND)
        processor.validate()
        self._switch(entry)

    def fail(self, failure):
        if self._shown:  # the switch itself failed: the old content is current
            self._component.show(self._component.record().get(CURRENT))
        if self._data and self.set_aside(failure):
            self._component.keep(self._data)
        super().fail(failure)

    def _switch(self, entry):
        here = self._component
        record = here.record()
        trial = record.get(TRIAL)
        attempts = trial[1] if trial and trial[0] == entry[0] else 0
        problem = "no answer in %d attempts" % attempts
        if attempts < _ATTEMPTS:  # counted first: the application may hang over it
            record[TRIAL] = [entry[0], attempts + 1]
            here.state.store(here.name, record)
            self._shown = True
            problem = here.show(entry)
        record.pop(TRIAL)
        record[FLOOR] = entry[0]
        if problem is None:
            record[CURRENT] = entry
        here.state.store(here.name, record)  # the switch
        here.clean(record)
        here.state.remove(self.record)
        if problem is None:
            console.info("data %s is now sequence %d", here.name, entry[0])
            self.report(reports.CONFIRMED)
            return
        again = here.show(record.get(CURRENT))
        if again:
            console.error("data %s: the old content is refused, too: %s", here.name, again)
        failure = Failure(failures.REJECTED, problem)
        self.report(reports.ROLLED_BACK, failure=failure)
        detail = "%s: %s" % (here.name, problem)
        self._alarms.raise_(alarms.DATA_REFUSED, failure.word, detail)
