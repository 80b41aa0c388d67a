"""Modules on demand: imported when there is work for them, let go of after it.

At rest the board's RAM belongs to the link and to telemetry. What verifies, plans and installs
runs a few seconds a month; its bytecode stays in ROM, but its names, functions and classes would
hold some 25 KiB of RAM all the time (docs/decisions/0012-modules-on-demand.md).

    with ondemand.modules:
        self._judge(data)  # imports inside, and keeps nothing of what it imported

Meanwhile garbage may fill a quarter of the free heap before it is collected, else an eighth. At
rest it is collected early, so that what stays lies together; what the work makes goes with it.
"""

import gc
import sys

from gate.clock import const

_LEAST_GARBAGE = const(4096)  # bytes between two collections, as the loader begins with
_MOST_AT_FIRST = const(16384)  # for what is done before it is known how much is free

# Modules of these names, and all below them; with a dot at the end only those below. A module that
# was loaded on entering stays, so the resident modules of a room do, and the link with what it
# imports. Nothing that stays may hold an instance or an exception of what goes. Native modules
# (_ed25519, _bspatch) are not here: MicroPython never frees their memory, so each further import
# would cost it again.
_ON_DEMAND = (  # one text: as a tuple the names themselves would be in RAM
    "gate.commands. gate.enrolment gate.identity gate.link.tls gate.proof "
    "gate.reporting.crash gate.settings gate.telemetry.calibration "
    "gate.telemetry.ring_recovery gate.trust. gate.update. gate.values "
    "boot. bspatch coap cose ed25519 http_client sha512 ssl"
)


class _Modules:
    """A context manager; several tasks may be in it at once, and the last to leave clears up."""

    def __init__(self):
        self._users = 0
        self._before = None
        self._least = _LEAST_GARBAGE
        self._free = 4 * _MOST_AT_FIRST  # bytes, after the last work

    def __enter__(self):
        if not self._users:
            # What an application imported for itself is not ours to take away.
            self._before = _loaded(_ON_DEMAND.split())
            self._collect_after(self._free // 4)
        self._users += 1

    def __exit__(self, kind, error, trace):
        self._users -= 1
        if self._users:
            return
        for name in _loaded(_ON_DEMAND.split()):
            if name not in self._before:
                _forget(name)
        gc.collect()
        if hasattr(gc, "mem_free"):
            self._free = gc.mem_free()
            self._collect_after(self._free // 8)

    def make_garbage(self, least=_LEAST_GARBAGE):
        """So many bytes at least lie between two collections from now on, in a flood more than
        otherwise: nearly all that is allocated then is garbage at once.
        """
        self._least = least
        if not self._users:
            self._collect_after(self._free // 8)

    def _collect_after(self, garbage):
        """Has the collector run after so many bytes, where the loader has it run early at all."""
        if hasattr(gc, "threshold") and gc.threshold() > 0:
            gc.threshold(max(garbage, self._least))


def _loaded(entries):
    """Names of the loaded modules that an entry covers."""
    return [name for name in sys.modules if any(_covers(entry, name) for entry in entries)]


def _covers(entry, name):
    if entry[-1] == ".":
        return name.startswith(entry)
    return name == entry or name.startswith(entry + ".")


def _forget(name):
    del sys.modules[name]
    package, _, rest = name.rpartition(".")
    if package in sys.modules:
        delattr(sys.modules[package], rest)


modules = _Modules()
