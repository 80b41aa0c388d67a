"""From power-on to a running application.

A slot is mounted only after its SHA-256 was compared with the boot record and, where the board's
options require it, its signed manifest was verified. The attempt of a slot on trial is counted
before it runs, and the watchdog is started before its first line is imported.
"""

import gc
import os
import sys
import time

from boot import const
from boot.console import say

CRASH = "/state/crash"  # in the board's folder: "COUNT SEQUENCE\n" and the last uncaught trace
_RETRY_S = const(5)  # pause before the restart after a crash, doubled each time
_RETRY_MAX_S = const(300)
_LEAST_GARBAGE = const(4096)  # bytes allocated between two collections
# Modules that are not needed while the application runs, or only now and then.
_UNLOADED = (
    "select options verify signature manifests storage record slots romslots fileslots changes"
)
# Built-in modules that files of these names may stand in for. At each import of one MicroPython
# looks for the file along all of sys.path, 100,000 instructions with littlefs in it, unless
# sys.modules has the module.
_BUILT_IN = "array binascii collections errno hashlib io json os re select socket struct time"

_REMEDY = "flash the board again over this port (tidegate flash); the REPL is yours"


def main():
    from boot.board import Board

    # Collect early: new objects are allocated behind the garbage, and those that stay would end up
    # scattered over the whole heap, with no large free piece between them. The agent goes on by
    # its own rule (gate.ondemand), stricter once it is composed.
    gc.threshold(max(_LEAST_GARBAGE, gc.mem_free() // 4))
    _load_built_in()
    run(Board())


def _load_built_in():
    path = sys.path[:]
    sys.path[:] = ()
    for name in _BUILT_IN.split():
        try:
            sys.modules[name] = __import__(name)
        except ImportError:  # this MicroPython was built without
            pass
    sys.path[:] = path


def _prefer_files(folders):
    """Forgets the built-in modules that the image brings its own of."""
    for folder in folders:
        try:
            names = [name.partition(".")[0] for name in os.listdir(folder)]
        except OSError:  # no such folder in this image
            continue
        for name in _BUILT_IN.split():
            if name in names:
                sys.modules.pop(name, None)


def run(board, launch=None):
    """Boots the board. launch(boot): mounts the slot and runs the application; tests put the agent
    in its place.
    """
    boot = _select(board)
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
        _fail_attempt(boot, ENDED)
    say("the application ended")


def _select(board):
    """select.select, without its code staying in RAM; None: safe mode, the reason was printed."""
    before = [name for name in _UNLOADED.split() if "boot." + name in sys.modules]
    from boot import select

    try:
        boot = select.select(board)
    except OSError as error:
        say("safe mode: %s", error)
        boot = None
    for name in _UNLOADED.split():
        if name not in before and sys.modules.pop("boot." + name, None):
            delattr(sys.modules["boot"], name)
    return boot


def start(boot):
    """Mounts the slot's image and runs its application."""
    import vfs

    vfs.mount(boot.file_system(), "/rom")
    sys.path[1:1] = ["/rom/lib", "/rom"]
    _prefer_files(sys.path[1:3])
    application(boot)(boot)


def application(boot):
    """The function(boot) that runs in this start: the application's, or, where the agent asked for
    it, that which brings an update alone.
    """
    try:
        # Before it runs: whatever becomes of it, the start after it is a usual one.
        os.remove(boot.board.folder + "/state/" + boot.BARE)
        bare = not boot.trial
    except OSError:  # as nearly always
        bare = False
    if bare:
        try:
            from gate.bare import start

            return start
        except ImportError:  # the slots were changed, and this image is older
            pass
    import app

    return app.start


# ---------------------------------------------------------------- crashes


def _crashed(boot, error):
    """Stores the trace for the next boot to report, and restarts: at once in a trial, else after a
    growing pause.
    """
    _print_trace(error, sys.stdout)
    count = _store_crash(boot.board.folder, boot.running.sequence, error)
    if boot.trial:
        from boot.record import EXCEPTION

        say("the trial raised %s", type(error).__name__)
        _fail_attempt(boot, EXCEPTION)
    pause = min(_RETRY_MAX_S, _RETRY_S << min(count - 1, 6))
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


def _fail_attempt(boot, reason):
    """Restarts. The attempt is counted already: on worn flash only its reason is lost."""
    try:
        boot.fail_attempt(reason)
    except OSError as error:
        say("the reason could not be stored: %s", error)
    boot.reset()


def _print_trace(error, file):
    if hasattr(sys, "print_exception"):
        sys.print_exception(error, file)
    else:
        import traceback

        traceback.print_exception(error, file=file)


def _store_crash(folder, sequence, error):
    """Returns how often this image has crashed, this time included. A full or broken file system
    must not stop the restart.
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
        except OSError:  # it exists
            pass
        with open(path + ".new", "w") as file:
            file.write("%d %d\n" % (count, sequence))
            _print_trace(error, file)
        os.rename(path + ".new", path)
    except OSError as error:
        say("the crash could not be stored: %s", error)
    return count
