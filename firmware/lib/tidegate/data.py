"""Data components: files beside the image that are updated alone and without a restart, such as a
calibration table or a model.

Each component is one file and a small record of what it holds. New content is staged, verified,
renamed into its place, and shown to the application; only when the application takes it does the
record, in one atomic write, call it current. Until then, and whatever is cut, the old content is.
"""

import asyncio
import gc
import hashlib
import os

from tidegate import alarms, console, envelope, reports
from tidegate.clock import const
from tidegate.reports import Failure
from tidegate.staging import Interrupted
from tidegate.suit import Processor

DATA = b"data"  # first part of a component's id, its name is the second
_ATTEMPTS = const(3)  # times new content may be shown to the application without an answer
_BACKOFF_S = const(2)  # pause after a failed fetch, doubled each time
_BACKOFF_MOST_S = const(300)
_MEMORY_ATTEMPTS = const(3)
_MEMORY_PAUSE_S = const(5)
_BLOCK = const(512)  # bytes hashed at a time

# keys of a component's record
_FLOOR = const(1)  # sequence number of the newest content that was current, or refused
_CURRENT = const(2)  # [sequence, SHA-256, size]
_TRIAL = const(3)  # [sequence, attempts]: content that the application is being shown


class Superseded(Exception):
    """A newer offer of the component came."""


class _Target:
    """What suit.Processor asks about one component."""

    def __init__(self, identity, component, holds):
        self.vendor_id = identity.vendor_id
        self.class_id = identity.class_id
        self.components = (component,)
        self._holds = holds

    def matches(self, component, digest, size):
        return self._holds(digest, size)


class Data:
    """All data components of the application, and the task that updates them."""

    def __init__(self, takers, state, keys, identity, staging, reporter, alarms_, feed):
        """takers: {name: function(path)}, called with the path of verified content, at each start
        and when it changed, or with None if there is none. It refuses by returning False or
        raising. state: State of a folder for the components alone; staging: into the same folder.
        """
        self._takers = takers
        self._state = state
        self._keys = keys
        self._identity = identity
        self._staging = staging
        self._reporter = reporter
        self._alarms = alarms_
        self._feed = feed
        self._inbox = {}
        self._arrived = asyncio.Event()
        self._answered = {}  # name -> hash of the last envelope that came to an end

    def open(self):
        """Shows the application what is here; call once, before run()."""
        for name in self._takers:
            kept = self._kept(name)
            current = kept.get(_CURRENT)
            if current and not self._holds(name, current[1], current[2]):
                console.error("data %s is damaged and not used", name)
                self._alarms.raise_(alarms.DATA_REFUSED, "damaged", name)
                del kept[_CURRENT]
                self._state.store(name, kept)
            self._clean(name, kept)
            problem = self._show(name, kept.get(_CURRENT))
            if problem:
                self._alarms.raise_(alarms.DATA_REFUSED, "rejected", "%s: %s" % (name, problem))

    def held(self):
        """{name: [sequence, SHA-256]} of what is current."""
        kept = ((name, self._kept(name).get(_CURRENT)) for name in self._takers)
        return {name: current[:2] for name, current in kept if current}

    def handlers(self):
        """{topic below down/: function(bytes)} that take the offers."""
        return {"offer/" + name: self._handler(name) for name in self._takers}

    def _handler(self, name):
        def offered(data):
            self._inbox[name] = data
            self._arrived.set()

        return offered

    def trust_changed(self):
        """Other keys count from now on: what was refused may be offered again."""
        self._answered = {}

    async def run(self, beat):
        """The task: one offer after the other."""
        while True:
            if not self._inbox:
                self._arrived.clear()
                await beat.wait(self._arrived)
                continue
            name, data = self._inbox.popitem()
            seen = hashlib.sha256(data).digest()
            if self._answered.get(name) == seen:
                continue
            try:
                await self._carry_out(name, data, beat)
                self._answered[name] = seen
            except Superseded:
                console.info("another offer for data %s came", name)

    async def _carry_out(self, name, data, beat):
        for attempt in range(_MEMORY_ATTEMPTS):
            gc.collect()
            try:
                await _Update(self, name, beat).carry_out(data, attempt + 1 == _MEMORY_ATTEMPTS)
                return
            except MemoryError:  # often a matter of what else goes on in this moment
                console.info("data %s: out of memory; again in %d s", name, _MEMORY_PAUSE_S)
            await beat.sleep(_MEMORY_PAUSE_S)

    # ------------------------------------------------------------ the files

    def _kept(self, name):
        kept = self._state.load(name)
        return kept if isinstance(kept, dict) else {}

    def _file(self, name, digest):
        return name + "." + "".join("%02x" % byte for byte in digest[:8])

    def _holds(self, name, digest, size):
        """Whether the content is here, whole."""
        path = self._file(name, digest)
        if self._state.size(path) != size:
            return False
        check, block = hashlib.sha256(), bytearray(_BLOCK)
        view = memoryview(block)
        with open(self._state.path(path), "rb") as file:
            while True:
                self._feed()
                count = file.readinto(block)
                if not count:
                    return check.digest() == digest
                check.update(view[:count])

    def _clean(self, name, kept):
        """Removes what a cut or an ended update left of the component."""
        current = kept.get(_CURRENT)
        keep = self._file(name, current[1]) if current else None
        for found in self._state.names():
            if found.startswith(name + ".") and found != keep:
                self._state.remove(found)

    def _show(self, name, entry):
        """Has the application take the content; why it does not, or None."""
        path = self._state.path(self._file(name, entry[1])) if entry else None
        self._feed()
        try:
            if self._takers[name](path) is False:
                return "the application refuses it"
        except Exception as error:
            return "%s: %s" % (type(error).__name__, error)
        return None


class _Update:
    """One offer of one component, to its end."""

    def __init__(self, owner, name, beat):
        self._data = owner
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
            self._fail(Failure(reports.MEMORY, "out of memory"))
        except OSError as error:
            self._fail(Failure(reports.STORAGE, "%r" % error))

    def _decide(self, data):
        """([sequence, digest, size], steps, processor), or Nones if it is what is here."""
        owner, name = self._data, self._name
        manifest = self._manifest = envelope.authenticate(data, owner._keys, owner._feed)
        component = [DATA, name.encode()]
        target = _Target(
            owner._identity, component, lambda digest, size: owner._holds(name, digest, size)
        )
        processor = Processor(manifest, target)
        steps = processor.install()
        fetch = next(steps, None)
        if fetch is None or fetch.arguments is not None:
            raise Failure(reports.UNSUPPORTED, "data is fetched whole", reports.SUIT_COMMAND)
        if fetch.uri != "p/" + "".join("%02x" % byte for byte in fetch.digest):
            raise Failure(
                reports.UNSUPPORTED, "a payload is named by its digest", reports.SUIT_PARAMETER
            )
        kept = owner._kept(name)
        current, floor = kept.get(_CURRENT), kept.get(_FLOOR, 0)
        if current and fetch.digest == current[1]:
            if manifest.sequence > floor:
                kept[_FLOOR] = current[0] = manifest.sequence
                owner._state.store(name, kept)
            self._report(reports.CURRENT)
            return None, None, None
        # Damaged content may come again under its own number.
        if manifest.sequence < floor or (manifest.sequence == floor and (current or not floor)):
            raise Failure(
                reports.OLDER, "sequence %d is not newer than %d" % (manifest.sequence, floor)
            )
        return [manifest.sequence, fetch.digest, fetch.size], steps, processor

    async def _install(self, entry, steps, processor):
        owner, name = self._data, self._name
        self._begun = True
        self._report(reports.OFFERED, detail="data %s" % name)
        if not owner._holds(name, entry[1], entry[2]):
            path = await self._bring(entry)
            os.rename(path, owner._state.path(owner._file(name, entry[1])))
        self._report(reports.APPLYING)
        if next(steps, None) is not None:
            raise Failure(reports.UNSUPPORTED, "one fetch a manifest", reports.SUIT_COMMAND)
        processor.validate()
        self._switch(entry)

    def _switch(self, entry):
        owner, name = self._data, self._name
        kept = owner._kept(name)
        trial = kept.get(_TRIAL)
        attempts = trial[1] if trial and trial[0] == entry[0] else 0
        problem = "no answer in %d attempts" % attempts
        if attempts < _ATTEMPTS:  # counted first: the application may hang over it
            kept[_TRIAL] = [entry[0], attempts + 1]
            owner._state.store(name, kept)
            self._shown = True
            problem = owner._show(name, entry)
        kept.pop(_TRIAL)
        kept[_FLOOR] = entry[0]
        if problem is None:
            kept[_CURRENT] = entry
        owner._state.store(name, kept)  # the switch
        owner._clean(name, kept)
        if problem is None:
            console.info("data %s is now sequence %d", name, entry[0])
            self._report(reports.CONFIRMED)
            return
        again = owner._show(name, kept.get(_CURRENT))
        if again:
            console.error("data %s: the old content is refused, too: %s", name, again)
        failure = Failure(reports.REJECTED, problem)
        self._report(reports.ROLLED_BACK, failure=failure)
        owner._alarms.raise_(alarms.DATA_REFUSED, failure.word, "%s: %s" % (name, problem))

    async def _bring(self, entry):
        """The path of the staged content; waits out a network that is away."""
        pause = _BACKOFF_S
        mistakes = 0
        self._report(reports.FETCHING)
        gc.collect()  # what the signature left, before anything lasting comes to lie above it
        while True:
            try:
                return await self._data._staging.fetch(entry[1], entry[2], self._progress)
            except Failure as failure:
                mistakes += 1
                if failure.code != reports.PAYLOAD_DIGEST or mistakes > 1:
                    raise
            except Interrupted as error:
                console.info("fetch interrupted: %s; again in %d s", error, pause)
                for _ in range(pause):
                    if self._name in self._data._inbox:
                        raise Superseded
                    await self._beat.sleep(1)
                pause = min(2 * pause, _BACKOFF_MOST_S)

    def _progress(self, done):
        self._beat()

    def _fail(self, failure):
        console.error("data %s: %s: %s", self._name, failure.word, failure.detail)
        if self._shown:  # the switch itself failed: what counts is the old content
            self._data._show(self._name, self._data._kept(self._name).get(_CURRENT))
        if self._begun:
            self._report(reports.FAILED, failure=failure)
            return
        self._report(reports.REFUSED, failure=failure)
        self._data._alarms.raise_(alarms.OFFER_REFUSED, failure.word, failure.detail)

    def _report(self, phase, **more):
        manifest = self._manifest
        sequence, digest = (manifest.sequence, manifest.digest) if manifest else (0, None)
        self._data._reporter.report(phase, sequence, digest, component=self._name, **more)
