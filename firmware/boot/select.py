"""Which slot to run: the trial while it may still be tried, else the confirmed one if it is whole.

Needed once a boot; the loader lets go of it before the application is imported.
"""

from boot import const, options, record, slots
from boot.api import Boot, Watchdog
from boot.console import say
from boot.verify import Unfit, Verifier

ATTEMPTS = const(3)  # starts of a trial that may fail
STARTS = const(24)  # starts of a trial altogether, power cuts included


def choose(board):
    """The Boot of the slot to run, or None: safe mode, and the reason was printed."""
    try:
        return _Choice(board).make()
    except options.OptionsError as error:
        say("safe mode: %s", error)
    except Unfit as error:
        say("safe mode: no slot can be booted; the last one: %s", error)
    except OSError as error:
        say("safe mode: the slots cannot be reached (%r)", error)
    return None


class _Choice:
    """One choice of a slot. Its steps change the boot record as they go."""

    def __init__(self, board):
        self._board = board
        told = options.read(board)
        self._watchdog = Watchdog(board)
        self._kind = told.slots
        self._place = slots.of(board, told.slots)
        self._store = record.Store(self._place)
        self._verifier = Verifier(board, self._place, told, self._watchdog.feed)
        self._kept = self._store.load()

    def make(self):
        """The Boot; None on a blank board. Raises Unfit when no slot is fit to run."""
        kept = self._kept
        if kept is None:
            say("safe mode: no valid boot record; never flashed, or it was overwritten")
            return None
        if kept.trial != record.NONE:
            image = self._try()
            if image is not None:
                say(
                    "trial %d of %d of slot %s, sequence %d",
                    kept.attempts,
                    ATTEMPTS,
                    slots.NAMES[kept.trial],
                    kept.slots[kept.trial].sequence,
                )
                return self._boot(kept.trial, image)
            self._store.save(kept)
            reason = record.REASONS[kept.outcome_reason]
            say("sequence %d rolled back: %s", kept.last_sequence, reason)
        try:
            image = self._image(kept.running)
        except Unfit as error:
            image = self._fall_back(error)
        sequence = kept.slots[kept.running].sequence
        say("slot %s, sequence %d, verified", slots.NAMES[kept.running], sequence)
        return self._boot(kept.running, image)

    def _image(self, index):
        return self._verifier.image(self._kept.slots[index], index)

    def _boot(self, index, image):
        board, kept = self._board, self._kept
        return Boot(board, self._kind, kept, index, image, self._watchdog)

    def _try(self):
        """The trial's image for another attempt, which is counted and watched from here on; None
        if it gets none: then it has been ended in the record.
        """
        kept = self._kept
        if kept.starts:
            reason = kept.reason or _reason_of(self._board.reset_cause())
            if reason == record.POWER:
                # A power cut says nothing about the image; only STARTS bounds it.
                kept.attempts = max(0, kept.attempts - 1)
            if kept.attempts >= ATTEMPTS or kept.starts >= STARTS:
                kept.end_trial(record.ROLLED_BACK, reason)
                return None
        try:
            image = self._image(kept.trial)
        except Unfit as error:
            say("slot %s: %s", slots.NAMES[kept.trial], error)
            kept.end_trial(record.ROLLED_BACK, error.reason)
            return None
        kept.attempts += 1
        kept.starts += 1
        kept.reason = 0
        self._store.save(kept)
        self._watchdog.start()
        return image

    def _fall_back(self, error):
        """The running slot is unfit: takes the other if it was confirmed once, else raises the
        Unfit. The sequence floor stays.
        """
        kept = self._kept
        name, other = slots.NAMES[kept.running], 1 - kept.running
        say("slot %s: %s", name, error)
        if kept.slots[other].state != record.GOOD:
            raise error
        try:
            image = self._image(other)
        except Unfit as second:
            say("slot %s: %s", slots.NAMES[other], second)
            raise error
        say("going back to slot %s", slots.NAMES[other])
        unfit = kept.slots[kept.running]
        kept.outcome, kept.outcome_reason = record.ROLLED_BACK, error.reason
        kept.last_sequence, kept.last_digest = unfit.sequence, unfit.digest
        unfit.state = record.EMPTY
        kept.running = other
        self._store.save(kept)
        return image


def _reason_of(cause):
    """Why the last attempt ended, when it could not say so itself."""
    if cause == "watchdog":
        return record.WATCHDOG
    if cause == "power-on":
        return record.POWER
    return record.RESET
