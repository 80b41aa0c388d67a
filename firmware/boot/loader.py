"""From power-on to a running application.

Nothing of a slot is mounted or imported before its SHA-256 was compared with the boot record. A
slot on trial has its attempt counted before it runs, and the watchdog started before its first
line is imported.
"""

import gc
import os
import sys
import time

from boot import const, record, slots
from boot.handle import Boot, Watchdog

ATTEMPTS = const(3)  # starts of a trial that may fail
STARTS = const(24)  # starts of a trial altogether, power cuts included
CRASH = "/state/crash"  # in the board's folder: "COUNT SEQUENCE\n" and the last uncaught trace
_RETRY_S = const(5)  # pause before the restart after a crash, doubled each time
_RETRY_MOST_S = const(300)
_IMPORT_GARBAGE = const(4096)  # bytes

REMEDY = "tidegate: flash the board again over this port (tidegate flash); the REPL is yours"


def say(text, *values):
    print("tidegate: " + (text % values if values else text))


def main():
    from boot.board import Board

    run(Board())


def run(board, launch=None):
    """Boots the board. launch(boot): mounts the slot and runs the application; tests put the agent
    in its place.
    """
    boot = choose(board)
    if boot is None:
        say(REMEDY[10:])
        return
    try:
        (launch or start)(boot)
    except KeyboardInterrupt:
        boot.release_attempt()
        say("stopped at the console; reset the board to run again")
        return
    except Exception as error:
        _crashed(boot, error)
        return
    if boot.trial:
        say("the application ended during its trial")
        boot.fail_attempt(record.ENDED)
        boot.reset()
    say("the application ended")


def start(boot):
    """Mounts the slot, in place, and runs its application."""
    import vfs

    vfs.mount(vfs.VfsRom(boot.image()), "/rom")
    sys.path[1:1] = ["/rom/lib", "/rom"]
    # What importing leaves behind is collected at once: later it would be holes among what stays.
    # On a heap of 128 KiB it makes the largest free block four times as large. The application
    # ends it (gc.threshold(-1)) when it is set up.
    gc.threshold(_IMPORT_GARBAGE)
    import app

    app.start(boot)


# ---------------------------------------------------------------- the choice


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


# ---------------------------------------------------------------- crashes


def _crashed(boot, error):
    """Keeps the trace for the next boot to report, and restarts; at once in a trial, else after a
    growing pause.
    """
    _print_trace(error, sys.stdout)
    count = _keep_crash(boot.board.folder, boot.running.sequence, error)
    if boot.trial:
        say("the trial raised %s", type(error).__name__)
        boot.fail_attempt(record.EXCEPTION)
        boot.reset()
    pause = min(_RETRY_MOST_S, _RETRY_S << min(count - 1, 6))
    say(
        "the application raised %s; restart in %d s, Ctrl-C for the REPL",
        type(error).__name__,
        pause,
    )
    try:
        for _ in range(pause):
            boot.watchdog.feed()
            time.sleep(1)
    except KeyboardInterrupt:
        say("stopped at the console; reset the board to run again")
        return
    boot.reset()


def _print_trace(error, file):
    if hasattr(sys, "print_exception"):
        sys.print_exception(error, file)
    else:
        import traceback

        traceback.print_exception(error, file=file)


def _keep_crash(folder, sequence, error):
    """Crashes of this image so far, this one included. A full or broken file system must not stop
    the restart.
    """
    count = 1
    path = folder + CRASH
    try:
        with open(path) as file:
            before = file.readline().split()
        if len(before) == 2 and before[1] == str(sequence):
            count = int(before[0]) + 1
    except (OSError, ValueError):
        pass
    try:
        try:
            os.mkdir(folder + "/state")
        except OSError:  # it is there
            pass
        with open(path + ".new", "w") as file:
            file.write("%d %d\n" % (count, sequence))
            _print_trace(error, file)
        os.rename(path + ".new", path)
    except OSError as error:
        say("the crash could not be kept: %s", error)
    return count
