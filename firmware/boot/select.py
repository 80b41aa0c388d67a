"""Selects the slot to run: the trial while it has attempts left, else the confirmed slot if its
image is valid.

Used once a boot; the loader unloads it before the application is imported.
"""

from boot import const, options, record
from boot.api import Boot, Watchdog
from boot.console import say
from boot.slots import NAMES
from boot.storage import open_slots
from boot.verify import InvalidImage, Verifier

ATTEMPTS = const(3)  # starts of a trial that may fail
STARTS = const(24)  # starts of a trial altogether, power cuts included


def select(board):
    """The Boot of the slot to run, or None: safe mode, and the reason was printed."""
    try:
        return _Selection(board).run()
    except options.OptionsError as error:
        say("safe mode: %s", error)
    except InvalidImage as error:
        say("safe mode: no slot can be booted; the last one: %s", error)
    except OSError as error:
        say("safe mode: the slots cannot be reached (%r)", error)
    return None


class _Selection:
    """Selects a slot once. Its steps change the boot record as they go."""

    def __init__(self, board):
        self._board = board
        found = options.read(board)
        self._watchdog = Watchdog(board)
        self._kind = found.slots
        slots = open_slots(board, found.slots)
        self._store = record.Store(slots)
        self._verifier = Verifier(board, slots, found, self._watchdog.feed)
        self._record = self._store.load()

    def run(self):
        """The Boot; None on a blank board. Raises InvalidImage when no slot may be booted."""
        state = self._record
        if state is None:
            say("safe mode: no valid boot record; never flashed, or it was overwritten")
            return None
        if state.trial != record.NONE:
            image = self._trial_image()
            if image is not None:
                say(
                    "trial %d of %d of slot %s, sequence %d",
                    state.attempts,
                    ATTEMPTS,
                    NAMES[state.trial],
                    state.slots[state.trial].sequence,
                )
                return self._boot(state.trial, image)
        try:
            image = self._image(state.running)
        except InvalidImage as error:
            image = self._other_image(error)
        sequence = state.slots[state.running].sequence
        say("slot %s, sequence %d, verified", NAMES[state.running], sequence)
        return self._boot(state.running, image)

    def _image(self, index):
        slot = self._record.slots[index]
        try:
            return self._verifier.image(slot, index)
        except InvalidImage as error:
            # What was read wrong once is no reason to give an image up.
            say("slot %s: %s; reading it again", NAMES[index], error)
            return self._verifier.image(slot, index)

    def _boot(self, index, image):
        return Boot(self._board, self._kind, self._record, index, image, self._watchdog)

    def _trial_image(self):
        """The trial's image for another attempt, which is counted and watched from here on; None
        if it has no attempt left: then the record no longer has a trial.
        """
        state = self._record
        if state.starts:
            reason = state.reason or _reason_of(self._board.reset_cause())
            if reason in (record.POWER, record.AWAY):
                # That says nothing about the image: only STARTS bounds power cuts, and ATTEMPTS
                # the starts without a broker.
                state.attempts = max(0, state.attempts - 1)
            away = reason == record.AWAY and state.starts - state.attempts >= ATTEMPTS
            if away or state.attempts >= ATTEMPTS or state.starts >= STARTS:
                return self._roll_back(reason)
        try:
            image = self._image(state.trial)
        except InvalidImage as error:
            say("slot %s: %s", NAMES[state.trial], error)
            return self._roll_back(error.reason)
        state.attempts += 1
        state.starts += 1
        state.reason = 0
        if not self._saved():
            return None  # an attempt that is not counted might be made for ever
        self._watchdog.start()
        return image

    def _roll_back(self, reason):
        state = self._record
        state.end_trial(record.ROLLED_BACK, reason)
        self._saved()
        say(
            "sequence %d rolled back: %s",
            state.last_sequence,
            record.REASONS[state.outcome_reason],
        )

    def _saved(self):
        """Stores the record; whether it could. Flash that wears out must not keep a whole image
        from running: the next boot then finds the record as it was, and decides the same.
        """
        try:
            self._store.save(self._record)
        except OSError as error:
            say("the boot record cannot be stored: %s", error)
            return False
        return True

    def _other_image(self, error):
        """The running slot is invalid: selects the other slot if that was confirmed once, else
        raises `error`. The sequence floor stays.
        """
        state = self._record
        other = 1 - state.running
        say("slot %s: %s", NAMES[state.running], error)
        if state.slots[other].state != record.GOOD:
            raise error
        try:
            image = self._image(other)
        except InvalidImage as second:
            say("slot %s: %s", NAMES[other], second)
            raise error
        say("going back to slot %s", NAMES[other])
        invalid = state.slots[state.running]
        state.outcome, state.outcome_reason = record.ROLLED_BACK, error.reason
        state.last_sequence, state.last_digest = invalid.sequence, invalid.digest
        invalid.state = record.EMPTY
        state.running = other
        self._saved()
        return image


def _reason_of(cause):
    """Why the last attempt ended, when it did not record a reason itself."""
    if cause == "watchdog":
        return record.WATCHDOG
    if cause == "power-on":
        return record.POWER
    return record.RESET
