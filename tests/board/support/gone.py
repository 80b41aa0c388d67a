"""Whether a process that is no child of ours has ended."""

from __future__ import annotations

from pathlib import Path

from patience import until


def is_gone(pid: int) -> bool:
    """One that ended and that nobody has asked after yet is gone, too."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pid: int) -> None:
    until(f"the end of process {pid}", lambda: is_gone(pid), 5, 0.02)
