"""The firmware of the emulated board knows the names that Tidegate's code uses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "boards" / "qemu_mps2"))

import names  # noqa: E402

MOST_MISSING = 0.05  # of all; a list that is a little behind costs a little RAM


def test_the_list_of_names_is_not_too_old() -> None:
    used = names.used()
    missing = used - names.known()
    assert len(used) > 1000
    assert len(missing) <= MOST_MISSING * len(used), (
        f"{len(missing)} of {len(used)} names are not in {names.TARGET}: make -C boards/qemu_mps2"
    )


@pytest.mark.skipif(not names.TARGET.exists(), reason="not built: make -C boards/qemu_mps2")
def test_the_firmware_has_them() -> None:
    """As names in its flash: MicroPython's generated list has them all, but for those it had anyway."""
    generated = (ROOT / "build/qemu_mps2/genhdr/qstrdefs.generated.h").read_text()
    some = sorted(name for name in names.known() if name.isidentifier() and len(name) > 12)
    assert len(some) > 100
    assert not [name for name in some if f'"{name}"' not in generated]


def test_a_list_is_written_when_it_lacks_too_much(tmp_path: Path) -> None:
    target = tmp_path / "made" / "names.h"
    hundred = {f"name_{number}" for number in range(100)}
    assert names.write(hundred, target) and names.known(target) == hundred
    written = target.stat().st_mtime_ns
    for good_enough in (hundred, hundred | {"one_more", "and_another"}, set(sorted(hundred)[:50])):
        assert not names.write(good_enough, target)
    assert target.stat().st_mtime_ns == written
    more = hundred | {f"new_{number}" for number in range(3)}
    assert names.write(more, target) and names.known(target) == more
    target.write_text("")
    assert names.write(hundred, target) and names.known(target) == hundred
