"""CPU time and memory of processes, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import TidegateError

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """cpu_s: seconds of CPU so far, of the process and its children; rss_mib: memory now."""

    cpu_s: float
    rss_mib: float


def parse(text: str) -> tuple[str, int]:
    """(name, pid) from "NAME=PID", or from "PID" with the program's name; TidegateError if there is no such process."""
    name, equals, number = text.rpartition("=")
    if not number.isdecimal() or not (_PROC / number).is_dir():
        raise TidegateError(f"there is no process {text!r}", "Write --pid PID or --pid NAME=PID, on Linux")
    return (name if equals and name else (_PROC / number / "comm").read_text().strip()), int(number)


def of(pid: int) -> Usage | None:
    """The usage of a process with its children, living and ended; None if it has ended."""
    try:
        cpu, rss = _cpu(pid, ended_children=True), _rss(pid)
    except OSError:
        return None
    for child in _children(pid):
        try:
            cpu, rss = cpu + _cpu(child, ended_children=True), rss + _rss(child)
        except OSError:  # it ended meanwhile, and is among the ended ones from now on
            continue
    return Usage(cpu, rss)


def _cpu(pid: int, ended_children: bool) -> float:
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended_children else 13])) / _TICKS


def _rss(pid: int) -> float:
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _children(pid: int) -> list[int]:
    found = []
    for task in (_PROC / str(pid) / "task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *_children(int(child))]
    return found
