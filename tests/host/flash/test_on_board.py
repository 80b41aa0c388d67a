"""tidegate/flash/on_board.py, what a flashing session defines on the board, run by MicroPython's unix port."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from patience import limit
from projects import ROOT

from tidegate.flash.serial_session import ON_BOARD, source_of

UNIX = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", ROOT / "build" / "unix" / "micropython"))
pytestmark = pytest.mark.built


def run(folder: Path, *expressions: str, before: str = "") -> list[Any]:
    """The values of the expressions on a board whose root is `folder`, evaluated one after the other."""
    prints = "\n".join(f"print(repr({expression}))" for expression in expressions)
    program = f"{ON_BOARD}\nos.chdir({str(folder)!r})\n{before}\n{prints}\n"
    done = subprocess.run([UNIX, "-c", program], capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 0, done.stderr + done.stdout
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tg" / "state").mkdir(parents=True)
    (tmp_path / "tg" / "state" / "one").write_bytes(b"1")
    (tmp_path / "tg" / "large").write_bytes(bytes(range(256)) * 256)
    (tmp_path / "main.py").write_bytes(b"")
    return tmp_path


def test_files(folder: Path) -> None:
    large = (folder / "tg" / "large").read_bytes()
    digest = hashlib.sha256(large).hexdigest()
    looked = run(folder, "_tg_look('tg/large')", "_tg_look('main.py')", "_tg_look('missing')", "_tg_digest('tg/large')")
    assert looked == [(digest, len(large)), (hashlib.sha256().hexdigest(), 0), (None, 0), digest]
    assert run(folder, "_tg_read('tg/large', 5)", "_tg_read('missing', 5)") == [large[:5], None]


def test_folders(folder: Path) -> None:
    everything = ["tg/state/one", "tg/large"]
    found, missing = run(folder, "_tg_list('tg/')", "_tg_list('missing')")
    assert sorted(found) == sorted(everything) and missing == []
    run(folder, "_tg_folder('tg')", "_tg_folder('new')", "_tg_drop('missing')", "_tg_drop('main.py')", "_tg_drop('tg')")
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_folder_that_cannot_be_made(folder: Path) -> None:
    with pytest.raises(AssertionError, match="OSError"):
        run(folder, "_tg_folder('missing/inner')")


def test_the_watchdog_is_fed_within_a_long_file(folder: Path) -> None:
    before = "fed = []\ndef _tg_feed():\n    fed.append(1)\n"
    assert run(folder, "_tg_look('tg/large')[1]", "len(fed)", before=before) == [65536, 4]


@pytest.mark.parametrize("inflates", [True, False])
def test_the_bytes_of_a_file_as_the_host_sends_them(folder: Path, inflates: bool) -> None:
    for data in (bytes(range(256)) * 8, b"", b"\\'\r\n\x03\x04", bytes(2048)):
        source = source_of(data, inflates)
        assert not {3, 4} & set(source), "these end what the raw REPL reads"
        (folder / "program.py").write_bytes(
            ON_BOARD.encode() + b"\nprint(binascii.hexlify(" + source + b").decode())\n"
        )
        done = subprocess.run([UNIX, folder / "program.py"], capture_output=True, text=True, timeout=limit(60))
        assert done.stdout.strip() == data.hex(), done.stderr
    assert source_of(bytes(2048), inflates).startswith(b"_tg_inflate(") == inflates


def test_a_module_may_be_missing(folder: Path) -> None:
    assert run(folder, "_tg_has('deflate')", "_tg_has('none')") == [True, False]


def test_identify(folder: Path) -> None:
    [(machine, version, mpy, _files, heap)] = run(folder, "_tg_identify('/')")
    assert "linux" in machine and version >= (1, 25) and mpy & 0xFF == 6 and heap > 0


def test_every_name_is_ours() -> None:
    """Nothing that the board's own program may have defined is replaced, but for modules of MicroPython's."""
    defined = [node.name for node in ast.parse(ON_BOARD).body if isinstance(node, ast.FunctionDef)]
    assert len(defined) > 5 and all(name.startswith("_tg_") for name in defined)
    assert all(isinstance(node, (ast.FunctionDef, ast.Import, ast.Expr)) for node in ast.parse(ON_BOARD).body)
