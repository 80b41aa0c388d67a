"""What the loader hands to the application: the board, what runs, and the way to install something
newer.

The boot record and the slots are opened when they are asked for: the modules behind them are
wanted now and then, and let go of in between (gate.ondemand).
"""

from boot import const

WATCHDOG_MS = const(8000)  # a board that feeds nothing for this long is reset
_NAMES = "AB"


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


class Running:
    """What runs. size: bytes; digest: SHA-256 of those; sequence: the release's number."""

    def __init__(self, slot):
        self.size = slot.size
        self.digest = slot.digest
        self.sequence = slot.sequence


class Outcome:
    """How the last trial ended. reason: a word of record.REASONS; sequence, digest: the image it
    is about.
    """

    def __init__(self, confirmed, reason, sequence, digest):
        self.confirmed = confirmed
        self.reason = reason
        self.sequence = sequence
        self.digest = digest


class Boot:
    """One boot of one slot. Made by the loader; `app.start` receives it."""

    def __init__(self, board, kind, kept, index, image, watchdog):
        """kind: of the slots, boot.ROM or FILES; kept: the record.Record; image: the verified
        bytes of slot `index`, a memoryview.
        """
        self.board = board
        self.watchdog = watchdog
        self.slot = _NAMES[index]
        self.running = Running(kept.slots[index])
        self.trial = kept.trial == index
        self.reset_cause = board.reset_cause()
        self._kind = kind
        self._image = image
        self._index = index

    @property
    def SlotError(self):
        """What the methods about slots raise."""
        from boot.slots import SlotError

        return SlotError

    def _place(self):
        from boot import slots

        return slots.of(self.board, self._kind)

    def _open(self):
        """(store, record); raises OSError if the record cannot be read any more."""
        from boot.record import Store

        store = Store(self._place())
        kept = store.load()
        if kept is None:
            raise OSError("the boot record is gone")
        return store, kept

    @property
    def outcome(self):
        """How the last trial ended, or None once clear_outcome was called."""
        from boot.record import CONFIRMED, REASONS

        kept = self._open()[1]
        if not kept.outcome:
            return None
        return Outcome(
            kept.outcome == CONFIRMED,
            REASONS[kept.outcome_reason],
            kept.last_sequence,
            kept.last_digest,
        )

    def clear_outcome(self):
        store, kept = self._open()
        if kept.outcome:
            kept.outcome = 0
            store.save(kept)

    @property
    def sequence_floor(self):
        """The lowest sequence number this board still accepts."""
        return self._open()[1].floor

    @property
    def other_slot_size(self):
        """Bytes the slot that does not run can hold."""
        return self._place().capacity

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
        place = self._place()
        if not 0 < size <= place.capacity:
            raise self.SlotError("no image of %d bytes fits a slot" % size)
        return place.digest(1 - self._index, size, self.watchdog.feed)

    def slot_writer(self, size):
        """A Writer (write, finish) for the slot that does not run, but never for the way back."""
        from boot.record import EMPTY

        store, kept = self._open()
        self._check_way(kept)
        other = kept.slots[1 - self._index]
        if other.state != EMPTY:
            other.state = EMPTY
            store.save(kept)
        return self._place().writer(1 - self._index, size, self.watchdog.feed)

    def _check_way(self, kept):
        """The other slot is the way back during a trial, and after somebody asked to go back
        (boot.rollback).
        """
        if kept.running != self._index:
            raise self.SlotError("slot %s is the way back" % _NAMES[1 - self._index])

    def is_bad(self, digest):
        """Whether an image with this digest failed its trial on this board."""
        return digest in self._open()[1].bad

    def arm_trial(self, size, digest, sequence, manifest=None):
        """The switch: from the next reset on, the other slot is on trial. One atomic write.

        manifest: the signed envelope (bytes) the image came with, kept for the loader.
        """
        from boot import manifests, record

        store, kept = self._open()
        self._check_way(kept)
        if sequence < kept.floor or digest in kept.bad:
            raise self.SlotError(
                "sequence %d is older than %d, or failed before" % (sequence, kept.floor)
            )
        other = 1 - self._index
        manifests.keep(self.board, other, manifest)
        kept.slots[other] = record.Slot(record.INSTALLED, size, sequence, bytes(digest))
        kept.trial = other
        kept.attempts = kept.starts = kept.reason = 0
        kept.outcome = 0
        store.save(kept)

    def confirm(self):
        """Ends the trial for good: this slot runs from now on, and nothing older is accepted any
        more.
        """
        from boot.record import CONFIRMED

        if self.trial:
            store, kept = self._open()
            kept.end_trial(CONFIRMED)
            store.save(kept)
            self.trial = False

    def raise_floor(self, sequence):
        """The running image was signed again under this higher number: from now on nothing older
        is accepted.
        """
        if self.trial:
            return
        store, kept = self._open()
        if sequence > kept.floor:
            kept.floor = sequence
            store.save(kept)

    def fail_attempt(self, reason):
        """Notes why this attempt of the trial failed (record.EXCEPTION, ...); the caller resets
        next.
        """
        if not self.trial:
            return
        store, kept = self._open()
        if not kept.reason:
            kept.reason = reason
            store.save(kept)

    def release_attempt(self):
        """This attempt was ended by a person at the console and says nothing about the image."""
        if not self.trial:
            return
        store, kept = self._open()
        if kept.attempts:
            kept.attempts -= 1
            store.save(kept)

    def reset(self):
        self.board.reset()
