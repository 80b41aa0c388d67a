"""The firmware of the emulated board knows the names that Tidegate's code uses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PLACE = Path(__file__).resolve().parent.parent.parent / "boards" / "qemu_mps2" / "names.py"
MOST_MISSING = 0.05  # of all; a list that is a little behind costs a little RAM


def test_the_list_of_names_is_not_too_old() -> None:
    spec = importlib.util.spec_from_file_location("names", PLACE)
    assert spec and spec.loader
    names = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(names)
    used = names.used()
    missing = used - names.known()
    assert len(missing) <= MOST_MISSING * len(used), (
        f"{len(missing)} of {len(used)} names are not in src/names.h: make -C boards/qemu_mps2 names"
    )
