"""What a Boot does seldom: it changes the boot record, reads the slots and writes the other one.
boot.api has the contract; here is what its attributes of these names are.
"""

from boot.slots import NAMES, SlotError


class Outcome:
    """How the last trial ended. confirmed: bool; reason: a word of record.REASONS; sequence,
    digest: of the image on trial.
    """

    def __init__(self, confirmed, reason, sequence, digest):
        self.confirmed = confirmed
        self.reason = reason
        self.sequence = sequence
        self.digest = digest


class Changes:
    """The rest of a boot.api.Boot. Not to be kept: it holds modules that are loaded on demand."""

    def __init__(self, boot):
        self._boot = boot
        self._image = boot._image
        self.SlotError = SlotError  # which the methods about slots raise

    def _slots(self):
        from boot.storage import open_slots

        return open_slots(self._boot.board, self._boot._kind)

    def _running(self):
        """The Image that runs."""
        boot = self._boot
        if self._image is None:
            self._image = self._slots().image(boot._index, boot.running.size)
        return self._image

    def _open(self):
        """(store, record); raises OSError if the record cannot be read any more."""
        from boot.storage import open_record

        return open_record(self._boot.board, self._boot._kind)[1:]

    @property
    def outcome(self):
        """The Outcome of the last trial, or None after clear_outcome()."""
        from boot.record import CONFIRMED, REASONS

        record = self._open()[1]
        if not record.outcome:
            return None
        return Outcome(
            record.outcome == CONFIRMED,
            REASONS[record.outcome_reason],
            record.last_sequence,
            record.last_digest,
        )

    def clear_outcome(self):
        store, record = self._open()
        if record.outcome:
            record.outcome = 0
            store.save(record)

    @property
    def sequence_floor(self):
        """The lowest sequence number that this board still accepts."""
        return self._open()[1].floor

    @property
    def other_slot_size(self):
        """The capacity of the slot that does not run, bytes."""
        return self._slots().capacity

    def image(self):
        """The running image, a memoryview: of the ROM segment itself, or of a copy in RAM."""
        return self._running().view()

    def read_running(self, offset, buf):
        """Fills buf from the running image, starting at offset. Raises ValueError."""
        if offset < 0 or offset + len(buf) > self._boot.running.size:
            raise ValueError("bytes %d+%d are outside the running image" % (offset, len(buf)))
        self._running().readinto(offset, buf)

    def other_digest(self, size):
        """SHA-256 of the first `size` bytes of the slot that does not run."""
        slots = self._slots()
        if not 0 < size <= slots.capacity:
            raise SlotError("an image of %d bytes does not fit a slot" % size)
        return slots.digest(1 - self._boot._index, size, self._boot.watchdog.feed)

    def slot_writer(self, size):
        """A Writer for the slot that does not run: write(data), then finish(digest). Raises
        SlotError while that slot is the fallback.
        """
        from boot.record import EMPTY

        store, record = self._open()
        self._check_not_fallback(record)
        other = record.slots[1 - self._boot._index]
        if other.state != EMPTY:
            other.state = EMPTY
            store.save(record)
        return self._slots().writer(1 - self._boot._index, size, self._boot.watchdog.feed)

    def _check_not_fallback(self, record):
        """The other slot is the fallback during a trial, and once boot.rollback selected it."""
        if record.running != self._boot._index:
            raise SlotError("slot %s is the fallback" % NAMES[1 - self._boot._index])

    def is_bad(self, digest):
        """Whether an image with this digest failed its trial on this board."""
        return digest in self._open()[1].bad

    def forgive(self):
        """Forgets which images failed their trial on this board; returns how many there were."""
        store, record = self._open()
        count = len(record.bad)
        if count:
            record.bad = []
            store.save(record)
        return count

    def arm_trial(self, size, digest, sequence, manifest=None, patient=False):
        """Switches in one atomic write: from the next reset on the other slot is on trial.

        size: bytes of the image; digest: its SHA-256; manifest: its signed envelope (bytes), which
        the loader stores; patient: the agent tries it again later, with growing pauses, if its
        trial ends for a reason outside of it, so it is not banned for that. Raises SlotError for
        an image that is too old or failed before.
        """
        from boot import manifests
        from boot.record import INSTALLED, Slot

        store, record = self._open()
        self._check_not_fallback(record)
        if sequence < record.floor or digest in record.bad:
            raise SlotError(
                "sequence %d is older than %d, or failed before" % (sequence, record.floor)
            )
        other = 1 - self._boot._index
        manifests.store(self._boot.board, other, manifest)
        record.slots[other] = Slot(INSTALLED, size, sequence, bytes(digest), int(patient))
        record.trial = other
        record.attempts = record.starts = record.reason = 0
        record.outcome = 0
        store.save(record)

    def confirm(self):
        """Confirms the trial: this slot runs from now on; nothing older is accepted any more."""
        from boot.record import CONFIRMED

        if self._boot.trial:
            store, record = self._open()
            record.end_trial(CONFIRMED)
            store.save(record)
            self._boot._ended = True
            self._boot.trial = False

    def raise_floor(self, sequence):
        """Accepts nothing older than `sequence` from now on: the running image was signed again
        under this higher number.
        """
        if self._boot.trial:
            return
        store, record = self._open()
        if sequence > record.floor:
            record.floor = sequence
            store.save(record)

    def fail_attempt(self, reason):
        """Records why this attempt of the trial failed (record.EXCEPTION, ...); the caller resets
        next.
        """
        if not self._boot.trial:
            return
        store, record = self._open()
        if not record.reason:
            record.reason = reason
            store.save(record)

    def release_attempt(self):
        """Does not count this attempt: a person at the console ended it, not the image."""
        if not self._boot.trial:
            return
        store, record = self._open()
        if record.attempts:
            record.attempts -= 1
            store.save(record)
