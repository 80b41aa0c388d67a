"""What Tidegate itself brings for boards: device libraries, loader, boards, built firmware.

In a checkout that is the checkout. An installed wheel carries a folder of the same layout (tools/dist.py).
"""

from __future__ import annotations

from pathlib import Path

from tidegate.errors import TidegateError

_PACKAGE = Path(__file__).resolve().parent
CARRIED = _PACKAGE / "carried"


def folder() -> Path:
    """The folder with firmware/, boards/ and build/ that belongs to this Tidegate."""
    for found in (CARRIED, _PACKAGE.parent):
        if (found / "firmware" / "lib" / "gate").is_dir():
            return found
    raise TidegateError(
        f"this installation of Tidegate ({_PACKAGE}) has no device libraries",
        "Install the wheel that `make dist` builds in a checkout",
    )
