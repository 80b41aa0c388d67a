"""`tidegate firmware build`: what it builds, and what it says where it cannot."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tidegate import library
from tidegate.cli import main

ROOT = Path(__file__).resolve().parents[3]


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["firmware", "build", *words])
    return done.exit_code, done.output


def checkout(folder: Path, build: str) -> Path:
    """A library whose board rpi_pico is built by another command."""
    shutil.copytree(ROOT / "boards" / "rpi_pico", folder / "boards" / "rpi_pico")
    path = folder / "boards" / "rpi_pico" / "board.toml"
    path.write_text(path.read_text().replace("make -C boards/rpi_pico", build))
    return folder


def test_what_was_built_is_named_with_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = checkout(tmp_path, "install -D boards/rpi_pico/board.py build/rpi_pico/firmware.uf2")
    monkeypatch.setattr(library, "folder", lambda: place)
    code, said = run("--board", "rpi_pico", "--json")
    found = json.loads(said)
    data = (place / "boards" / "rpi_pico" / "board.py").read_bytes()
    assert code == 0 and found["file"] == str(place / "build" / "rpi_pico" / "firmware.uf2")
    assert (found["size"], found["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_one_that_holds_the_agent_is_named_with_its_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = checkout(tmp_path, "install -D boards/rpi_pico/board.py build/rpi_pico/firmware-frozen.uf2 ")
    path = place / "boards" / "rpi_pico" / "board.toml"
    path.write_text(path.read_text().replace(" FROZEN=1", ""))
    monkeypatch.setattr(library, "folder", lambda: place)
    code, said = run("--board", "rpi_pico", "--frozen", "--json")
    found = json.loads(said)
    assert code == 0, said
    assert found["file"] == str(place / "build" / "rpi_pico" / "firmware-frozen.uf2")
    assert found["frozen"] == str(place / "build" / "rpi_pico" / "frozen" / "frozen.json")
    code, said = run("--board", "rpi_pico", "--frozen")
    assert code == 0 and "frozen.json: what it holds" in said


def test_a_board_without_such_a_firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = checkout(tmp_path, "true")
    path = place / "boards" / "rpi_pico" / "board.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("frozen_")]
    path.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(library, "folder", lambda: place)
    code, said = run("--board", "rpi_pico", "--frozen")
    assert code == 1 and "rpi_pico that holds the agent" in said


def test_what_failed_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = checkout(tmp_path, "cat boards/nothing")
    monkeypatch.setattr(library, "folder", lambda: place)
    code, said = run("--board", "rpi_pico")
    assert code == 1 and "`cat boards/nothing` failed with exit code 1" in said and "No such file" in said


def test_a_program_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = checkout(tmp_path, "no-such-make -C boards")
    monkeypatch.setattr(library, "folder", lambda: place)
    code, said = run("--board", "rpi_pico")
    assert code == 1 and "no-such-make is not installed" in said


def test_an_installed_one_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = checkout(tmp_path, "true")
    (place / "boards" / "rpi_pico" / "Makefile").unlink()
    monkeypatch.setattr(library, "folder", lambda: place)
    code, said = run("--board", "rpi_pico")
    assert code == 1 and "in a checkout of Tidegate" in said


def test_boards_of_others() -> None:
    code, said = run("--board", "teensy41")
    assert code == 1 and "does not build MicroPython for teensy41" in said and "rpi_pico, unix" in said
    assert run("--board", "rpi_pica")[0] == 1
