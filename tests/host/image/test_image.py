"""Images: the same bytes for the same sources, wherever they are, and nothing in them that does not belong."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import ROOT, write_app

from tidegate import boards
from tidegate.errors import Refused, TidegateError
from tidegate.image import Identity, build_image, pack, romfs
from tidegate.sources import Sources

IDENTITY = Identity("tidegate-gateway", "1.0.0", 1, "qemu_mps2")


def board() -> boards.Board:
    return boards.load(ROOT, "qemu_mps2")


def build(project: Path) -> bytes:
    return build_image(Sources.checkout(project), board(), IDENTITY)


def test_the_same_wherever_the_sources_are(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a folder with another and longer name"
    shutil.copytree(project, elsewhere)
    for path in elsewhere.rglob("*.py"):
        path.touch()
    assert build(project) == build(elsewhere) == build(project)
    write_app(elsewhere, "two")
    assert build(elsewhere) != build(project)


def test_holds_the_firmware_and_what_it_is(project: Path) -> None:
    files = romfs.files(build(project))
    sources = {
        f"/lib/{path.relative_to(project / 'firmware/lib').with_suffix('.mpy')}"
        for path in (project / "firmware" / "lib").rglob("*.py")
        if path.name != "manifest.py"
    }
    assert {name for name in files if name.startswith("/lib/")} == sources - {"/lib/aiotcp_cpython.mpy"}
    assert "/app/__init__.mpy" in files
    assert json.loads(files["/release.json"]) == vars(IDENTITY)
    for name, data in files.items():
        if name.endswith(".mpy"):
            assert data[0] == ord("M") and data[1] == 6, name


def test_compiled_code_knows_its_place_in_the_image(project: Path) -> None:
    files = romfs.files(build(project))
    assert b"app/__init__.py" in files["/app/__init__.mpy"]
    assert not any(str(project).encode() in data for data in files.values())


def test_names_of_files_in_tracebacks(project: Path) -> None:
    files = romfs.files(build(project))
    module = files["/lib/gate/console.mpy"]
    assert b"gate/console.py" in module and b"lib/gate/console.py" not in module


def test_imports_of_const_are_left_out_and_lines_stay(project: Path) -> None:
    modules = {  # the source, and what is compiled of it
        "alone": ("import gc\nfrom gate.clock import const\n_X = const(7)\n", "import gc\npass\n_X = const(7)\n"),
        "among": (
            "from aiotcp import (\n    const,\n    sleep_ms,\n); Y = 1\n_X = const(7)\nprint(_X)\n",
            "from aiotcp import sleep_ms; Y = 1\n\n\n\n_X = const(7)\nprint(_X)\n",
        ),
        "called": (
            "from gate.clock import const, sleep_ms\nLIST = [const(1)]\n",
            "from micropython import const; from gate.clock import sleep_ms\nLIST = [const(1)]\n",
        ),
    }
    app = project / "firmware" / "app"
    compiled = []
    for version in (0, 1):
        for name, texts in modules.items():
            (app / f"{name}.py").write_text(texts[version])
        files = romfs.files(build(project))
        compiled.append({name: files[f"/app/{name}.mpy"] for name in modules})
    assert compiled[0] == compiled[1]
    assert b"gate.clock" not in compiled[0]["alone"] and b"gate.clock" in compiled[0]["called"]


def test_leaves_out_what_is_not_run(project: Path) -> None:
    before = build(project)
    for name in ("lib/package.json", "lib/manifest.py", "app/README.md", "app/.hidden", "app/__pycache__/x.pyc"):
        path = project / "firmware" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x = 1\n")
    assert build(project) == before
    (project / "firmware" / "app" / "table.csv").write_text("1,2\n")
    assert romfs.files(build(project))["/app/table.csv"] == b"1,2\n"


def test_what_does_not_compile_is_named(project: Path) -> None:
    (project / "firmware" / "app" / "broken.py").write_text("def f(:\n")
    with pytest.raises(TidegateError, match=r"broken\.py does not compile:(?s:.)*SyntaxError"):
        build(project)


def test_an_image_larger_than_the_slot_is_refused() -> None:
    slot = board().slot_size
    assert slot is not None
    board().check_image(slot)
    with pytest.raises(TidegateError, match=f"a slot of qemu_mps2 holds {slot}"):
        board().check_image(slot + 1)


def test_unknown_boards_are_named() -> None:
    with pytest.raises(TidegateError, match=r"no board nonesuch .*Boards here: .*qemu_mps2"):
        boards.load(ROOT, "nonesuch")
    with pytest.raises(TidegateError, match="not a valid board name"):
        boards.load(ROOT, "../boards/qemu_mps2")


def test_a_wrong_board_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "boards" / "mine"
    folder.mkdir(parents=True)
    for text, says in (
        ('title = "x"\n[slots]\nkind = "file"\n[flash]\nmachine = "x"', "board.toml: name is missing"),
        ("name = [", "cannot be read"),
        ((ROOT / "boards" / "unix" / "board.toml").read_text(), "name is 'unix'. Name the board like its folder"),
    ):
        (folder / "board.toml").write_text(text)
        with pytest.raises(TidegateError, match=says):
            boards.load(tmp_path, "mine")


NAMES = st.text("abcdefghij._", min_size=1, max_size=12)
TREES = st.recursive(
    st.dictionaries(NAMES, st.binary(max_size=300), max_size=4),
    lambda inner: st.dictionaries(NAMES, st.binary(max_size=50) | inner, max_size=4),
    max_leaves=12,
)


@given(TREES)
@settings(max_examples=200, deadline=None)
def test_what_is_packed_is_read_back(tree: dict) -> None:
    expected: dict[str, bytes] = {}

    def flatten(folder: dict, path: str) -> None:
        for name, entry in folder.items():
            if isinstance(entry, bytes):
                expected[f"{path}/{name}"] = entry
            else:
                flatten(entry, f"{path}/{name}")

    flatten(tree, "")
    assert romfs.files(pack(tree)) == expected


def test_a_damaged_image_is_refused() -> None:
    good = pack({"lib": {"a.mpy": b"M" * 100}, "release.json": b"{}"})
    for size in range(len(good)):
        with pytest.raises(Refused):
            romfs.files(good[:size])
    with pytest.raises(Refused):
        romfs.files(good + b"\0")


@given(st.binary(max_size=100))
@settings(max_examples=500, deadline=None)
def test_random_bytes_are_refused_or_read(data: bytes) -> None:
    with contextlib.suppress(Refused):
        romfs.files(romfs.MAGIC + bytes([len(data) & 0x7F]) + data)
