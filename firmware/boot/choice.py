"""Which slot to run: the trial while it may still be tried, else the confirmed one if it is whole.

Needed once a boot; the loader lets go of it before the application is imported.
"""

from boot import const, record, slots
from boot.console import say
from boot.handle import Boot, Watchdog

ATTEMPTS = const(3)  # starts of a trial that may fail
STARTS = const(24)  # starts of a trial altogether, power cuts included


def choose(board):
    """The Boot of the slot to run, or None: safe mode, and the reason was printed."""
    watchdog = Watchdog(board)
    store = record.Store(board)
    kept = store.load()
    if kept is None:
        say("safe mode: no valid boot record; never flashed, or the ROM segment was overwritten")
        return None
    if kept.trial != record.NONE:
        if _may_try(board, kept, watchdog):
            kept.attempts += 1
            kept.starts += 1
            kept.reason = 0
            store.save(kept)
            watchdog.start()
            slot = kept.slots[kept.trial]
            name = slots.NAMES[kept.trial]
            say(
                "trial %d of %d of slot %s, sequence %d",
                kept.attempts,
                ATTEMPTS,
                name,
                slot.sequence,
            )
            return Boot(board, store, kept, kept.trial, watchdog)
        store.save(kept)
        say("sequence %d rolled back: %s", kept.last_sequence, record.REASONS[kept.outcome_reason])
    if not _whole(board, kept, kept.running, watchdog):
        if not _fall_back(board, kept, watchdog):
            say("safe mode: no slot holds the image its boot record tells of")
            return None
        store.save(kept)
    slot = kept.slots[kept.running]
    say("slot %s, sequence %d, verified", slots.NAMES[kept.running], slot.sequence)
    return Boot(board, store, kept, kept.running, watchdog)


def _may_try(board, kept, watchdog):
    """Whether the trial gets another attempt; if not, it has been ended in the record."""
    if kept.starts:
        reason = kept.reason or _reason_of(board.reset_cause())
        if reason == record.POWER:
            # A power cut says nothing about the image; only STARTS bounds it.
            kept.attempts = max(0, kept.attempts - 1)
        if kept.attempts >= ATTEMPTS or kept.starts >= STARTS:
            kept.end_trial(record.ROLLED_BACK, reason)
            return False
    if not _whole(board, kept, kept.trial, watchdog):
        kept.end_trial(record.ROLLED_BACK, record.DAMAGED)
        return False
    return True


def _reason_of(cause):
    """Why the last attempt ended, when it could not say so itself."""
    if cause == "watchdog":
        return record.WATCHDOG
    if cause == "power-on":
        return record.POWER
    return record.RESET


def _whole(board, kept, index, watchdog):
    """Whether the slot holds the very bytes the record tells of."""
    slot = kept.slots[index]
    if slot.state == record.EMPTY or not 0 < slot.size <= slots.capacity(board):
        return False
    return slots.digest(slots.view(board, index, slot.size), watchdog.feed) == slot.digest


def _fall_back(board, kept, watchdog):
    """The running slot is damaged: take the other if it was confirmed once. The sequence floor
    stays.
    """
    other = 1 - kept.running
    if kept.slots[other].state != record.GOOD or not _whole(board, kept, other, watchdog):
        return False
    damaged = kept.slots[kept.running]
    say("slot %s is damaged, going back to slot %s", slots.NAMES[kept.running], slots.NAMES[other])
    kept.outcome, kept.outcome_reason = record.ROLLED_BACK, record.DAMAGED
    kept.last_sequence, kept.last_digest = damaged.sequence, damaged.digest
    damaged.state = record.EMPTY
    kept.running = other
    return True
