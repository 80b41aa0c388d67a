"""The opcode that measures the board, in milliseconds of wall time."""

import hashlib
import os
from binascii import unhexlify

from gate.clock import const, ticks_diff, ticks_ms

_SIZE = const(4096)  # bytes
_TIMES = const(16)
_FILE = "bench"
# RFC 8032 section 7.1, test 2
_KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
_SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


async def bench(call):
    """signature: one Ed25519 verification; sha256, loop: of 64 KiB, of 20,000 turns of a loop;
    write, read: of a file of 4 KiB.
    """
    import ed25519

    key, signature = unhexlify(_KEY), unhexlify(_SIGNATURE)
    found = {}
    for name, work in (
        ("loop", lambda: _loop(20000)),
        ("sha256", _hash),
        ("signature", lambda: ed25519.verify(key, b"\x72", signature)),
        ("write", lambda: _write(call.agent.state)),
        ("read", lambda: _read(call.agent.state)),
    ):
        await call.pause()
        began = ticks_ms()
        if work() is False:
            raise ValueError("%s went wrong" % name)
        found[name + "_ms"] = ticks_diff(ticks_ms(), began)
    call.agent.state.remove(_FILE)
    found["native"] = bool(ed25519.native())
    return found


def _loop(turns):
    total = 0
    for turn in range(turns):
        total += turn & 3
    return total


def _hash():
    check = hashlib.sha256()
    data = bytes(_SIZE)
    for _ in range(_TIMES):
        check.update(data)


def _write(state):
    with open(state.path(_FILE), "wb") as file:
        file.write(bytes(_SIZE))
    return os.stat(state.path(_FILE))[6] == _SIZE


def _read(state):
    with open(state.path(_FILE), "rb") as file:
        return len(file.read()) == _SIZE
