"""The Boot object, which the loader hands to the application: the board, the running image, and
how to install a newer one.

This is a contract: an update over the air brings a new agent to an old loader, and flashing may
bring a new loader to an old agent. So nothing below is ever renamed or removed (tests/device/
test_boot_api.py pins it), and new agents use nothing newer without a way around it.

    Boot      board, watchdog, slot, running, trial, reset_cause, SlotError, outcome,
              clear_outcome(), sequence_floor, other_slot_size, image(), file_system(),
              read_running(offset, buf), other_digest(size), slot_writer(size), is_bad(digest),
              arm_trial(size, digest, sequence, manifest, patient), confirm(),
              raise_floor(sequence), fail_attempt(reason), release_attempt(), reset(),
              AWAY, forgive()
    running   size, digest, sequence
    outcome   confirmed, reason, sequence, digest
    watchdog  start(), feed()
    writer    write(data), finish(digest)

AWAY came together with arm_trial's `patient` and forgive(): a loader that has it has them all.

The boot record and the slots are opened at each use: the modules behind them are imported on
demand and unloaded in between (gate.ondemand).
"""

from boot import const

WATCHDOG_MS = const(8000)  # without a feed for this long the board is reset
_NAMES = "AB"


class Watchdog:
    """The board's watchdog. feed() does nothing before start()."""

    def __init__(self, board):
        self._board = board
        self._timer = None

    def start(self):
        if self._timer is None:
            self._timer = self._board.watchdog(WATCHDOG_MS)

    def feed(self):
        if self._timer is not None:
            self._timer.feed()


class Running:
    """The running image. size: bytes; digest: its SHA-256; sequence: the release's number."""

    def __init__(self, slot):
        self.size = slot.size
        self.digest = slot.digest
        self.sequence = slot.sequence


class Outcome:
    """How the last trial ended. confirmed: bool; reason: a word of record.REASONS; sequence,
    digest: of the image on trial.
    """

    def __init__(self, confirmed, reason, sequence, digest):
        self.confirmed = confirmed
        self.reason = reason
        self.sequence = sequence
        self.digest = digest


class Boot:
    """One boot of one slot. Made by the loader; `app.start` receives it."""

    AWAY = const(10)  # a reason for fail_attempt: the world was away, not the image bad

    def __init__(self, board, kind, record, index, image, watchdog):
        """kind: of the slots, boot.ROM or FILES; record: the record.Record; image: the verified
        Image of slot `index` (boot.slots).
        """
        self.board = board
        self.watchdog = watchdog
        self.slot = _NAMES[index]
        self.running = Running(record.slots[index])
        self.trial = record.trial == index
        self.reset_cause = board.reset_cause()
        self._ended = bool(record.outcome)  # there is one to be reported
        self._kind = kind
        self._image = image
        self._index = index

    @property
    def SlotError(self):
        """The exception that the methods about slots raise."""
        from boot.slots import SlotError

        return SlotError

    def _slots(self):
        from boot.storage import open_slots

        return open_slots(self.board, self._kind)

    def _open(self):
        """(store, record); raises OSError if the record cannot be read any more."""
        from boot.storage import open_record

        return open_record(self.board, self._kind)[1:]

    @property
    def outcome(self):
        """The Outcome of the last trial, or None after clear_outcome()."""
        if not self._ended:  # as nearly always: nothing is imported
            return None
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
        return self._image.view()

    def file_system(self):
        """The files of the running image, to be mounted."""
        return self._image.file_system()

    def read_running(self, offset, buf):
        """Fills buf from the running image, starting at offset. Raises ValueError."""
        if offset < 0 or offset + len(buf) > self.running.size:
            raise ValueError("bytes %d+%d are outside the running image" % (offset, len(buf)))
        self._image.readinto(offset, buf)

    def other_digest(self, size):
        """SHA-256 of the first `size` bytes of the slot that does not run."""
        slots = self._slots()
        if not 0 < size <= slots.capacity:
            raise self.SlotError("an image of %d bytes does not fit a slot" % size)
        return slots.digest(1 - self._index, size, self.watchdog.feed)

    def slot_writer(self, size):
        """A Writer for the slot that does not run: write(data), then finish(digest). Raises
        SlotError while that slot is the fallback.
        """
        from boot.record import EMPTY

        store, record = self._open()
        self._check_not_fallback(record)
        other = record.slots[1 - self._index]
        if other.state != EMPTY:
            other.state = EMPTY
            store.save(record)
        return self._slots().writer(1 - self._index, size, self.watchdog.feed)

    def _check_not_fallback(self, record):
        """The other slot is the fallback during a trial, and once boot.rollback selected it."""
        if record.running != self._index:
            raise self.SlotError("slot %s is the fallback" % _NAMES[1 - self._index])

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
            raise self.SlotError(
                "sequence %d is older than %d, or failed before" % (sequence, record.floor)
            )
        other = 1 - self._index
        manifests.store(self.board, other, manifest)
        record.slots[other] = Slot(INSTALLED, size, sequence, bytes(digest), int(patient))
        record.trial = other
        record.attempts = record.starts = record.reason = 0
        record.outcome = 0
        store.save(record)

    def confirm(self):
        """Confirms the trial: this slot runs from now on; nothing older is accepted any more."""
        from boot.record import CONFIRMED

        if self.trial:
            store, record = self._open()
            record.end_trial(CONFIRMED)
            store.save(record)
            self._ended = True
            self.trial = False

    def raise_floor(self, sequence):
        """Accepts nothing older than `sequence` from now on: the running image was signed again
        under this higher number.
        """
        if self.trial:
            return
        store, record = self._open()
        if sequence > record.floor:
            record.floor = sequence
            store.save(record)

    def fail_attempt(self, reason):
        """Records why this attempt of the trial failed (record.EXCEPTION, ...); the caller resets
        next.
        """
        if not self.trial:
            return
        store, record = self._open()
        if not record.reason:
            record.reason = reason
            store.save(record)

    def release_attempt(self):
        """Does not count this attempt: a person at the console ended it, not the image."""
        if not self.trial:
            return
        store, record = self._open()
        if record.attempts:
            record.attempts -= 1
            store.save(record)

    def reset(self):
        self.board.reset()
