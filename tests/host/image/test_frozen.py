"""Images for a firmware that holds the agent: what it holds is left out, what changed is there, and both are said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import ROOT

from tidegate import boards
from tidegate.errors import TidegateError
from tidegate.image import Identity, build_image, frozen, romfs
from tidegate.image.build import compiled_library
from tidegate.release import provenance
from tidegate.sources import Sources

HEAD = 40  # of firmware/boot/slots.py
CHANGED = "firmware/lib/gate/console.py"


def board(name: str = "qemu_mps2") -> boards.Board:
    return boards.load(ROOT, name)


def built(sources: Sources, name: str = "qemu_mps2", predecessor: bytes | None = None) -> bytes:
    return build_image(sources, board(name), Identity("p", "1.0.0", 1, name), predecessor=predecessor)


@pytest.fixture
def holding(project: Path, tmp_path: Path) -> Sources:
    """Sources with a firmware that holds all of them."""
    sources = Sources.checkout(project)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    held = {place: module for place, _, module in compiled_library(sources, board(), scratch)}
    path = tmp_path / "frozen.json"
    path.write_text(frozen.Firmware.of("qemu_mps2", held).encode())
    return replace(sources, frozen=(path,))


def test_what_the_firmware_holds_is_left_out(holding: Sources) -> None:
    whole = romfs.files(built(replace(holding, frozen=())))
    image = built(holding)
    files = romfs.files(image)
    firmware = frozen.read(holding.frozen[0])
    assert files.keys() == whole.keys() | {"/FROZEN"}
    assert b"\x06FROZEN\x02\x08" + firmware.digest in image[:HEAD]
    for name, data in files.items():
        if name.startswith("/lib/") and not name.endswith("/viper.mpy"):  # which is machine code
            held = firmware.modules[name.removeprefix("/lib/").removesuffix(".mpy") + ".py"]
            assert data == b"F" + held and frozen.digest(whole[name]) == held
    assert files["/app/__init__.mpy"] == whole["/app/__init__.mpy"]
    assert built(holding, predecessor=image) == image


def test_what_changed_is_in_the_image(holding: Sources) -> None:
    before = built(holding)
    path = holding.library / CHANGED
    path.write_text(path.read_text() + "\nCHANGED = 1\n")
    files = romfs.files(built(holding, predecessor=before))
    full = [name for name, data in files.items() if name.startswith("/lib/") and data[:1] != b"F"]
    assert full == ["/lib/bspatch/viper.mpy", "/lib/gate/console.mpy"]
    assert all(files[name][:1] == b"M" for name in full)


def test_other_boards_and_other_compilations_hold_their_own(holding: Sources) -> None:
    other = romfs.files(built(holding, "unix"))
    assert "/FROZEN" not in other
    assert all(data[:1] == b"M" for name, data in other.items() if name.endswith(".mpy"))
    shorter = romfs.files(built(replace(holding, lines=False)))
    assert shorter["/lib/gate/agent.mpy"][:1] == shorter["/lib/cbor/__init__.mpy"][:1] == b"M"


def test_the_firmware_counts_among_the_sources(holding: Sources) -> None:
    assert provenance.digest(holding, board()) != provenance.digest(replace(holding, frozen=()), board())


def test_a_project_names_it_beside_its_file(project: Path, holding: Sources) -> None:
    (project / "firmware" / "image.toml").write_text('[image]\nfrozen = ["held/frozen.json"]\n')
    assert Sources.checkout(project).frozen == (project / "firmware" / "held/frozen.json",)
    (project / "firmware" / "image.toml").write_text('[image]\nfrozen = ["../frozen.json"]\n')
    with pytest.raises(TidegateError, match="frozen"):
        Sources.checkout(project)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"board": 1, "modules": {}}',
        '{"board": "qemu_mps2", "modules": []}',
        '{"board": "qemu_mps2", "modules": {"gate/agent.py": 7}}',
        '{"board": "qemu_mps2", "modules": {"gate/agent.py": "xyz"}}',
        '{"board": "qemu_mps2", "modules": {"gate/agent.py": "00"}}',
    ],
)
def test_what_says_nothing_of_a_firmware_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frozen.json"
    path.write_text(text)
    with pytest.raises(TidegateError) as told:
        frozen.read(path)
    assert str(path) in told.value.message and "frozen.json" in told.value.remedy


@given(st.dictionaries(st.text("abc/_.", min_size=1), st.binary(min_size=8, max_size=8), max_size=5))
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, modules: dict[str, bytes]) -> None:
    path = tmp_path_factory.mktemp("frozen") / "frozen.json"
    firmware = frozen.Firmware("qemu_mps2", modules)
    path.write_text(firmware.encode())
    assert frozen.read(path) == firmware and len(firmware.digest) == 8
    assert json.loads(path.read_text())["board"] == "qemu_mps2"


def test_two_firmwares_of_a_board_are_refused(holding: Sources) -> None:
    with pytest.raises(TidegateError, match="two firmwares of qemu_mps2"):
        built(replace(holding, frozen=holding.frozen * 2))
