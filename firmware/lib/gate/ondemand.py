"""Modules on demand: imported when there is work for them, let go of after it.

At rest the board's RAM belongs to the link and to telemetry. What verifies, plans and installs
runs a few seconds a month; its bytecode stays in ROM, but its names, functions and classes would
hold some 25 KiB of RAM all the time (docs/decisions/0012-modules-on-demand.md).

    with ondemand.modules:
        self._judge(data)  # imports inside, and keeps nothing of what it imported

How much garbage there may be before it is collected is decided here, too, by how much is free
(docs/decisions/0059-collecting-by-what-is-free.md): a quarter of it until all is composed, and
while there is work, most of which goes again; else an eighth, because what is made then lies
behind the garbage, and would end up scattered over the heap with no large free piece between.
"""

import asyncio
import gc
import sys

from gate.clock import const

_LEAST_GARBAGE = const(4096)  # bytes between two collections
_AT_REST = const(8)  # one part in so many of what is free
_AT_WORK = const(4)
_DEPTH = const(16)  # calls, which take some 3 KB of the stack

# Modules of these names, and all below them; with a dot at the end only those below. A module that
# was loaded on entering stays, so the resident modules of a room do, and the link with what it
# imports. Nothing that stays may hold an instance or an exception of what goes. Native modules
# (_ed25519, _bspatch) are not here: MicroPython never frees their memory, so each further import
# would cost it again.
_ON_DEMAND = (  # one text: as a tuple the names themselves would be in RAM
    "gate.commands. gate.enrolment gate.exports gate.identity gate.link.coap gate.link.coap_mac "
    "gate.link.tls gate.proof gate.reporting.crash gate.settings gate.telemetry.calibration "
    "gate.telemetry.ring_recovery gate.trust. gate.update. gate.values "
    "boot. bspatch coap cose ed25519 http_client sha512 ssl"
)


class _Modules:
    """A context manager; several tasks may be in it at once, and the last to leave clears up."""

    def __init__(self):
        self._users = 0
        self._before = None
        self._least = _LEAST_GARBAGE
        self._free = 0  # bytes, after the last work; 0: there was none yet
        self._part = _AT_WORK  # between two works

    def __enter__(self):
        if not self._users:
            # What an application imported for itself is not ours to take away.
            self._before = set(sys.modules)
        self._users += 1
        self._collect_later()

    def __exit__(self, kind, error, trace):
        self._users -= 1
        if self._users:
            return
        try:
            loaded = self._forget(_ON_DEMAND)
        except MemoryError:  # for its lists; what then stayed would stay for good
            while self._forget_one("gate.update."):
                pass
            gc.collect()
            loaded = self._forget(_ON_DEMAND)
        self._before = None
        if loaded:
            gc.collect()
            self._look()
        self._collect_later()

    def keep(self, names):
        """Modules that were loaded, maybe while there was work, stay until let_go(names)."""
        if self._users:
            self._before.update(names)

    def let_go(self, names):
        """Forgets modules that were kept; while there is work, which may use them, after it."""
        if self._users:
            self._before.difference_update(names)
            return
        for name in names:
            forget(name)
        gc.collect()

    def drop(self, names):
        """Lets go of modules, named as in _ON_DEMAND, before the work that loaded them is over;
        not while there is other work, which may be using them.
        """
        if self._users == 1:
            self._forget(names)

    def _forget(self, names):
        """Returns whether there was any that was loaded since the work began."""
        loaded = [name for name in sys.modules if name not in self._before]
        entries = names.split()
        for name in loaded:
            if any(_covers(entry, name) for entry in entries):
                forget(name)
        return bool(loaded)

    def _forget_one(self, start):
        """Lets go of one module whose name starts so; returns whether there was one."""
        for name in sys.modules:
            if name.startswith(start) and name not in self._before:
                forget(name)
                return True
        return False

    def _look(self):
        if hasattr(gc, "mem_free"):
            self._free = gc.mem_free()

    def rest(self):
        """All that stays is made: from now on what is made between two works goes soon."""
        self._part = _AT_REST
        self._collect_later()

    def make_garbage(self, least=_LEAST_GARBAGE):
        """So many bytes at least lie between two collections from now on, in a flood more than
        otherwise: nearly all that is allocated then is garbage at once.
        """
        self._least = least
        if not self._free:
            self._look()
        self._collect_later()

    def _collect_later(self):
        """Says how much garbage there may be, where the loader has it collected early at all."""
        if self._free and hasattr(gc, "threshold") and gc.threshold() > 0:
            part = _AT_WORK if self._users else self._part
            gc.threshold(max(self._least, self._free // part))


def _covers(entry, name):
    # Makes no string: MicroPython looks each new one up among all names, some 4,500 instructions.
    end = len(entry)
    return name.startswith(entry) and (
        entry.endswith(".") or len(name) == end or name.find(".", end) == end
    )


async def clear_stack():
    """Comes back once the stack was overwritten from the event loop on. The collector takes for
    live whatever an address on the stack leads to, also one that a call left there that is over:
    10 KB of an update, when its payload had been fetched. To be followed by a collection.
    """
    asyncio.create_task(_overwrite())
    await asyncio.sleep(0)


async def _overwrite():
    _deep(_DEPTH)


def _deep(left, *others):
    # Frames of different sizes, as each leaves some words as they were.
    return _deep(left - 1, *others[:3], left) if left else None


def forget(name):
    """Lets go of a loaded module."""
    del sys.modules[name]
    package, _, rest = name.rpartition(".")
    if package in sys.modules:
        delattr(sys.modules[package], rest)


modules = _Modules()
