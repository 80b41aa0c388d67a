"""Object files that MicroPython's linker would make a wrong native module of are refused, and ours are none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
pytest.importorskip("elftools", reason="installed with what builds native modules")
import native  # noqa: E402
from native_objects import faults  # noqa: E402

FLAGS = ["-Os", "-fpic", "-mthumb", "-mcpu=cortex-m3", "-c", "-x", "c", "-"]
TWINS = """
extern void *(*const real)(void *, const void *, unsigned);
void *memcpy(void *to, const void *from, unsigned n) { return real(to, from, n); }
void *memmove(void *to, const void *from, unsigned n) { return real(to, from, n); }
"""
ALIAS = """
extern void *(*const real)(void *, const void *, unsigned);
void *memmove(void *to, const void *from, unsigned n) { return real(to, from, n); }
void *memcpy(void *to, const void *from, unsigned n) __attribute__((alias("memmove")));
"""
pytestmark = pytest.mark.built
OBJECTS = sorted((ROOT / "build/native").glob("*/objects/*/*.o"))


def compiled(source: str, out: Path, *flags: str) -> Path:
    command = ["arm-none-eabi-gcc", *FLAGS, *flags, "-o", str(out)]
    subprocess.run(command, input=source, text=True, check=True, capture_output=True)
    return out


def test_a_memmove_that_is_memcpy(tmp_path: Path) -> None:
    assert "memmove" in faults(compiled(TWINS, tmp_path / "twins.o"))[0]
    assert faults(compiled(ALIAS, tmp_path / "alias.o")) == []


def test_what_the_linker_takes_silently(tmp_path: Path) -> None:
    aligned = "__attribute__((aligned(64))) const int table[16] = {1}; int read(int i) { return table[i]; }"
    assert "aligned to 64" in faults(compiled(aligned, tmp_path / "aligned.o"))[0]
    absolute = "extern int far; int *where(void) { return &far; }"
    assert "relocation of kind 2" in faults(compiled(absolute, tmp_path / "absolute.o", "-fno-pic"))[0]


@pytest.mark.skipif(not OBJECTS, reason="not built: python tools/native.py")
@pytest.mark.parametrize("path", OBJECTS, ids=[f"{path.parts[-4]} {path.stem}" for path in OBJECTS])
def test_ours(path: Path) -> None:
    assert faults(path) == []


def test_a_refused_module_is_gone(tmp_path: Path) -> None:
    (tmp_path / "objects/_two").mkdir(parents=True)
    module, wrong = tmp_path / "_two.mpy", compiled(TWINS, tmp_path / "objects/_two/two.o")
    module.write_bytes(b"M")
    with pytest.raises(native.NativeError, match=r"two\.o must not be linked: memcpy and memmove"):
        native.check(tmp_path)
    assert not module.exists() and not wrong.exists()
