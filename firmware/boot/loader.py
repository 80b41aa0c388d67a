"""From power-on to a running application.

Nothing of a slot is mounted or imported before its SHA-256 was compared with the boot record, and
its signed manifest was verified where the board is told to (options). A slot on trial has its
attempt counted before it runs, and the watchdog started before its first line is imported.
"""

import gc
import os
import sys
import time

from boot import const
from boot.console import say

CRASH = "/state/crash"  # in the board's folder: "COUNT SEQUENCE\n" and the last uncaught trace
_RETRY_S = const(5)  # pause before the restart after a crash, doubled each time
_RETRY_MOST_S = const(300)
GARBAGE = const(4096)  # bytes allocated between two collections
# Modules that are not needed while the application runs, or only now and then.
_LET_GO = "select options verify signature manifests record slots romslots fileslots"

_REMEDY = "flash the board again over this port (tidegate flash); the REPL is yours"


def main():
    from boot.board import Board

    run(Board())


def run(board, launch=None):
    """Boots the board. launch(boot): mounts the slot and runs the application; tests put the agent
    in its place.
    """
    boot = _choose(board)
    if boot is None:
        say(_REMEDY)
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
        from boot.record import ENDED

        say("the application ended during its trial")
        boot.fail_attempt(ENDED)
        boot.reset()
    say("the application ended")


def _choose(board):
    """choice.choose, without its code staying in memory; None: safe mode, the reason was said."""
    before = [name for name in _LET_GO.split() if "boot." + name in sys.modules]
    from boot import select

    try:
        boot = select.choose(board)
    except OSError as error:
        say("safe mode: %s", error)
        boot = None
    for name in _LET_GO.split():
        if name not in before and sys.modules.pop("boot." + name, None):
            delattr(sys.modules["boot"], name)
    return boot


def start(boot):
    """Mounts the slot's image and runs its application."""
    import vfs

    vfs.mount(vfs.VfsRom(boot.image()), "/rom")
    sys.path[1:1] = ["/rom/lib", "/rom"]
    # Garbage is collected early: until it is, what stays is put behind it, and in the end what
    # stays lies scattered over the whole heap, with no large piece left between.
    gc.threshold(GARBAGE)
    import app

    app.start(boot)


# ---------------------------------------------------------------- crashes


def _crashed(boot, error):
    """Keeps the trace for the next boot to report, and restarts; at once in a trial, else after a
    growing pause.
    """
    _print_trace(error, sys.stdout)
    count = _keep_crash(boot.board.folder, boot.running.sequence, error)
    if boot.trial:
        from boot.record import EXCEPTION

        say("the trial raised %s", type(error).__name__)
        boot.fail_attempt(EXCEPTION)
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
