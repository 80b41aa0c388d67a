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
              AWAY, forgive(), BARE
    running   size, digest, sequence
    outcome   confirmed, reason, sequence, digest
    watchdog  start(), feed()
    writer    write(data), finish(digest)

AWAY came together with arm_trial's `patient` and forgive(): a loader that has it has them all.
BARE came later.

What is needed while an application runs is here; the rest is in boot.changes, by its names. That
and the modules behind it are imported on demand and unloaded in between (gate.ondemand), and boot
record and slots are opened at each use.
"""

from boot import FILES, const

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


class Boot:
    """One boot of one slot. Made by the loader; `app.start` receives it."""

    AWAY = const(10)  # a reason for fail_attempt: the world was away, not the image bad
    # A file in the agent's state: the next start, and that one alone, runs gate.bare in place of
    # the application; not if it is a trial.
    BARE = "bare"

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

    def __getattr__(self, name):
        # What is no attribute of ours, all of boot.changes.Changes among it.
        if name[0] == "_":
            raise AttributeError(name)
        from boot.changes import Changes

        return getattr(Changes(self), name)

    @property
    def outcome(self):
        """The Outcome of the last trial, or None after clear_outcome()."""
        if not self._ended:  # as nearly always: nothing is imported
            return None
        from boot.changes import Changes

        return Changes(self).outcome

    def file_system(self):
        """The files of the running image, to be mounted. Call once."""
        image = self._image
        if self._kind != FILES:  # what is mapped is found again when it is asked for
            self._image = None
        return image.file_system()

    def reset(self):
        self.board.reset()
