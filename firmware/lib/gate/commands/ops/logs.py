"""Opcodes about the log (gate.reporting.log)."""

from gate import console
from gate.reporting.log import NEW, OLD


async def tail(call, n, level):
    """The last n lines of this level or a more severe one: seconds of uptime, E I or D, text."""
    log = call.agent.log
    marks = "EID"[: _number(level) + 1]
    skip = -n
    for _ in _lines(log, marks):
        skip += 1
    shown = 0
    for line in _lines(log, marks):
        if skip > 0:
            skip -= 1
            continue
        call.write(line + "\n")
        shown += 1
        await call.pause()
    return {"lines": shown, "lost": log.lost, "level": console.LEVELS[console.level]}


def level(call, level):
    """Returns the level of the log; with an argument sets it, until the next start."""
    if level:
        console.set_level(_number(level))
    return {"level": console.LEVELS[console.level]}


def _number(level):
    if level not in console.LEVELS:
        raise ValueError("level is one of " + ", ".join(console.LEVELS))
    return console.LEVELS.index(level)


def _lines(log, marks):
    for name in (OLD, NEW, None):
        # Read whole: the log goes on while a file is shown.
        data = log.files.read(name) if name else log.waiting()
        at = 0
        while data and at < len(data):
            end = data.find(b"\n", at)
            end = len(data) if end < 0 else end
            line = data[at:end]
            at = end + 1
            if line and _mark(line) in marks:
                yield _text(line)


def _mark(line):
    at = line.find(b" ") + 1
    return chr(line[at]) if 0 < at < len(line) and line[at] < 128 else "?"


def _text(line):
    try:
        return str(line, "utf-8").rstrip()
    except UnicodeError:  # cut in the middle of a character, or a damaged file
        return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in line).rstrip()
