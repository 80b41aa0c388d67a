"""Opcodes about the machine a gateway runs on: a few of its programs, each with fixed arguments,
without a shell, within limits. For boards with spawn(), such as boards/unix.
"""

from gate.clock import const, sleep_ms

_CPU_S = const(5)
_MEMORY = const(256 * 1024 * 1024)  # bytes of address space
_ROUND_MS = const(20)
_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


async def df(call):
    return await _run(call, "df", "-hP")


async def fw_printenv(call, name):
    """The boot loader's environment, or one variable of it."""
    if any(char not in _NAME for char in name):
        raise ValueError("name may hold only letters, digits and _")
    return await _run(call, "fw_printenv", *([name] if name else []))


async def ip(call):
    return await _run(call, "ip", "-br", "address")


async def journalctl(call, n):
    return await _run(call, "journalctl", "--no-pager", "-q", "-o", "short-iso", "-n", str(n))


async def ss(call):
    return await _run(call, "ss", "-tuln")


async def _run(call, name, *arguments):
    """Its output in parts; {"exit": code}, or minus the signal that ended it."""
    board = call.agent.boot.board
    if not hasattr(board, "spawn"):
        raise ValueError("%s has no programs of a host" % board.name)
    process = board.spawn(name, arguments, _CPU_S, _MEMORY)
    rest = b""
    try:
        while True:
            data = process.read()
            if data is None:
                await sleep_ms(_ROUND_MS)
            rest = _say(call, rest + (data or b""), data == b"")
            if data == b"":
                break
            await call.pause()
    finally:
        process.kill()
    return {"exit": process.code}


def _say(call, data, last):
    """Writes whole lines; returns the rest."""
    end = len(data) if last or len(data) > 1024 else data.rfind(b"\n") + 1
    try:
        text = str(data[:end], "utf-8")
    except UnicodeError:
        text = "".join(chr(byte) if byte < 127 else "?" for byte in data[:end])
    if text:
        call.write(text)
    return data[end:]
