"""Which module names a library may bring: none of Tidegate's, none of MicroPython's, and none of another library's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tidegate.libraries.lockfile import LibraryError

# What MicroPython has built in on some board; a module of that name would be found in its place, or never.
_BUILT_IN = """
_asyncio _boot _onewire _thread _webrepl array asyncio binascii bluetooth btree builtins cmath collections cryptolib
deflate errno esp esp32 espnow ffi flashbdev framebuf gc hashlib heapq inisetup io json lwip machine math micropython
mimxrt network os platform pyb random re rp2 samd select socket ssl stm struct sys termios time tls uarray uasyncio
ubinascii ucollections ucryptolib uctypes uerrno uhashlib uheapq uio ujson umachine uos uplatform urandom ure uselect
usocket ussl ustruct usys utime uzlib vfs webrepl websocket zephyr zlib
"""
MICROPYTHON = frozenset(_BUILT_IN.split())
_OTHERS = frozenset(("app", "boot", "main"))
_REMEDY = "Require another library, or put a copy under another name into a ./folder of the project"


@dataclass(frozen=True)
class Brought:
    """A file that a library brings. path: below /lib."""

    library: str
    path: str
    sha256: str

    @property
    def module(self) -> str | None:
        """Its module's name; None for a file of another kind."""
        if not self.path.endswith(".py"):
            return None
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def own_names(library: Path) -> set[str]:
    """The top names of Tidegate's device libraries, of their machine code, and of what is beside them on a board."""
    found = {path.stem for path in (library / "firmware" / "lib").iterdir() if path.stem.isidentifier()}
    return found | {f"_{name}" for name in found} | _OTHERS


def check(brought: Iterable[Brought], own: set[str]) -> None:
    """LibraryError for the first name that is taken."""
    paths: dict[str, Brought] = {}
    names: dict[str, Brought] = {}
    for one in brought:
        top = one.path.partition("/")[0].removesuffix(".py")
        if top in own:
            raise LibraryError(f"{one.library} has a module {top}, and {top} is Tidegate's own", _REMEDY)
        if top in MICROPYTHON:
            raise LibraryError(f"{one.library} has a module {top}, and {top} is MicroPython's own", _REMEDY)
        other = paths.setdefault(one.path, one)
        if other.sha256 == one.sha256 and other.path == one.path:
            other = names.setdefault(one.module or one.path, one)
        if other.path != one.path or other.sha256 != one.sha256:
            what = f"a module {one.module}" if one.module else f"a file {one.path}"
            raise LibraryError(f"{other.library} and {one.library} both have {what}", "Require only one of them")
