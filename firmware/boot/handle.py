"""What the loader hands to the application: the board, what runs, and the way to install something
newer.
"""

from boot import const, manifests, record, slots

WATCHDOG_MS = const(8000)  # a board that feeds nothing for this long is reset


class Watchdog:
    """The board's watchdog, started when someone starts it; fed only after that."""

    def __init__(self, board):
        self._board = board
        self._timer = None

    def start(self):
        if self._timer is None:
            self._timer = self._board.watchdog(WATCHDOG_MS)

    def feed(self):
        if self._timer is not None:
            self._timer.feed()


class Outcome:
    """How the last trial ended. reason: a word of record.REASONS; sequence, digest: the image it
    is about.
    """

    def __init__(self, kept):
        self.confirmed = kept.outcome == record.CONFIRMED
        self.reason = record.REASONS[kept.outcome_reason]
        self.sequence = kept.last_sequence
        self.digest = kept.last_digest


class Boot:
    """One boot of one slot. Made by the loader; `app.start` receives it."""

    SlotError = slots.SlotError  # what the methods about slots raise

    def __init__(self, board, place, store, kept, index, image, watchdog):
        """place: what slots.of gives; image: the verified bytes of slot `index`, a memoryview."""
        self.board = board
        self.watchdog = watchdog
        self.slot = slots.NAMES[index]
        self.running = kept.slots[index]  # record.Slot: size, digest, sequence
        self.trial = kept.trial == index
        self.reset_cause = board.reset_cause()
        self._place = place
        self._image = image
        self._store = store
        self._record = kept
        self._index = index

    @property
    def outcome(self):
        """How the last trial ended, or None once clear_outcome was called."""
        return Outcome(self._record) if self._record.outcome else None

    def clear_outcome(self):
        if self._record.outcome:
            self._record.outcome = 0
            self._store.save(self._record)

    @property
    def sequence_floor(self):
        """The lowest sequence number this board still accepts."""
        return self._record.floor

    @property
    def other_slot_size(self):
        """Bytes the slot that does not run can hold."""
        return self._place.capacity

    def image(self):
        """The running image: a memoryview, in place for a ROM segment, in RAM for files."""
        return self._image

    def read_running(self, offset, buf):
        """Fills buf from the running image, starting at offset."""
        if offset < 0 or offset + len(buf) > self.running.size:
            raise ValueError("bytes %d+%d are outside the running image" % (offset, len(buf)))
        buf[:] = self._image[offset : offset + len(buf)]

    def other_digest(self, size):
        """SHA-256 of the first `size` bytes of the slot that does not run."""
        if not 0 < size <= self.other_slot_size:
            raise slots.SlotError("no image of %d bytes fits a slot" % size)
        return self._place.digest(1 - self._index, size, self.watchdog.feed)

    def slot_writer(self, size):
        """A Writer (write, finish) for the slot that does not run. During a trial that slot is the
        way back, so: never then.
        """
        if self.trial:
            raise slots.SlotError(
                "slot %s is the way back from this trial" % slots.NAMES[1 - self._index]
            )
        other = self._record.slots[1 - self._index]
        if other.state != record.EMPTY:
            other.state = record.EMPTY
            self._store.save(self._record)
        return self._place.writer(1 - self._index, size, self.watchdog.feed)

    def is_bad(self, digest):
        """Whether an image with this digest failed its trial on this board."""
        return digest in self._record.bad

    def arm_trial(self, size, digest, sequence, manifest=None):
        """The switch: from the next reset on, the other slot is on trial. One atomic write.

        manifest: the signed envelope (bytes) the image came with, kept for the loader.
        """
        if self.trial:
            raise slots.SlotError("a trial is running already")
        if sequence < self._record.floor or self.is_bad(digest):
            raise slots.SlotError(
                "sequence %d is older than %d, or failed before" % (sequence, self._record.floor)
            )
        other = 1 - self._index
        manifests.keep(self.board, other, manifest)
        self._record.slots[other] = record.Slot(record.INSTALLED, size, sequence, bytes(digest))
        self._record.trial = other
        self._record.attempts = self._record.starts = self._record.reason = 0
        self._record.outcome = 0
        self._store.save(self._record)

    def confirm(self):
        """Ends the trial for good: this slot runs from now on, and nothing older is accepted any
        more.
        """
        if self.trial:
            self._record.end_trial(record.CONFIRMED)
            self._store.save(self._record)
            self.trial = False

    def raise_floor(self, sequence):
        """The running image was signed again under this higher number: from now on nothing older
        is accepted.
        """
        if not self.trial and sequence > self._record.floor:
            self._record.floor = sequence
            self._store.save(self._record)

    def fail_attempt(self, reason):
        """Notes why this attempt of the trial failed (record.EXCEPTION, ...); the caller resets
        next.
        """
        if self.trial and not self._record.reason:
            self._record.reason = reason
            self._store.save(self._record)

    def release_attempt(self):
        """This attempt was ended by a person at the console and says nothing about the image."""
        if self.trial and self._record.attempts:
            self._record.attempts -= 1
            self._store.save(self._record)

    def reset(self):
        self.board.reset()
