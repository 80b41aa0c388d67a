"""What flashing puts beside an image: the loader's libraries, complete and no more, and what it is told."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tidegate import boards
from tidegate.errors import TidegateError
from tidegate.flash import loader_files, loader_image
from tidegate.image.build import native_files, without_const

ROOT = Path(__file__).resolve().parents[3]
LIB = ROOT / "firmware" / "lib"
ROOM = 1024  # bytes of the loader's range, to mend it later


@pytest.mark.parametrize("name", ["unix", "qemu_mps2"])
def test_the_library_holds_all_that_its_modules_import(name: str) -> None:
    board = boards.load(ROOT, name)
    found = loader_files.library(ROOT, board)
    left_out = {"ed25519/pure.py"} if "ed25519/in_place.py" in found else set()
    assert {"cose.py", "ed25519/__init__.py", "gate/update/suit_envelope.py", "gate/trust/store.py"} <= set(found)
    for path in found.values():
        for node in ast.walk(ast.parse(without_const(path.read_text()))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            else:
                continue
            for name in names:
                file = name.replace(".", "/") + ".py"
                there = (LIB / file).exists() and not file.endswith("_cpython.py")  # which no board uses
                assert file in found or file in left_out or not there, f"{path} imports {name}"


def test_the_library_leaves_out_what_judges_nothing() -> None:
    found = set(loader_files.library(ROOT, boards.load(ROOT, "unix")))
    assert not found & {
        "mqtt/__init__.py",
        "http_client/get.py",
        "bspatch/__init__.py",
        "gate/agent.py",
        "gate/update/offers.py",
    }


def test_a_loader_verifies_with_machine_code_that_is_executed_in_place() -> None:
    board = boards.load(ROOT, "qemu_mps2")
    if not [path for path in native_files(ROOT, board) if path.suffix == ".bin"]:
        pytest.skip("not built: python tools/native.py armv7m")
    found = set(loader_files.library(ROOT, board))
    assert "ed25519/in_place.py" in found
    assert not found & {"ed25519/pure.py", "ed25519/curve.py", "ed25519/base_table.py", "sha512.py"}
    files = loader_files.loader(ROOT, board, signature=True)
    code = files["/boot/lib/ed25519/in_place.bin"]
    _, packed = loader_image.split(files, board)
    assert packed is not None and packed.find(code) % 4 == 0


def test_only_a_loader_that_verifies_signatures_gets_the_library() -> None:
    board = boards.load(ROOT, "unix")
    plain = loader_files.loader(ROOT, board, signature=False)
    signed = loader_files.loader(ROOT, board, signature=True)
    assert list(plain)[-1] == list(signed)[-1] == "/main.py"
    assert {path for path in signed if path not in plain} == {
        f"{loader_files.LIBRARY}/{name[:-3]}.mpy" for name in loader_files.library(ROOT, board)
    }
    assert {path for path in plain if not path.startswith("/boot/")} == {"/main.py"}


def test_what_was_told_before_stays_unless_asked_otherwise() -> None:
    unix, mps2 = boards.load(ROOT, "unix"), boards.load(ROOT, "qemu_mps2")
    assert loader_files.choose_options({}, None, None, unix) == {"slots": "file", "verify": "digest"}
    assert loader_files.choose_options({}, None, None, mps2) == {"slots": "rom", "verify": "digest"}
    before = {"slots": "file", "verify": "signature"}
    assert loader_files.choose_options(before, None, None, mps2) == before
    assert loader_files.choose_options(before, "rom", "digest", mps2) == {"slots": "rom", "verify": "digest"}
    assert loader_files.choose_options({"slots": "ram", "verify": 1}, None, None, mps2) == {
        "slots": "rom",
        "verify": "digest",
    }


def test_the_password_of_a_wireless_lan_is_kept_apart(tmp_path: Path) -> None:
    """Commands may show config.json, and nothing beside it that they do not know."""
    config = tmp_path / "config.json"
    network = {"ssid": "cabinet", "password": "a long secret", "country": "AT"}
    config.write_text(json.dumps({"device": "gate-1", "network": network}))
    files = loader_files.settings(None, config, None)
    assert json.loads(files["/tg/config.json"]) == {"device": "gate-1"}
    assert json.loads(files[loader_files.NETWORK]) == network
    config.write_text('{"device": "gate-1"}')
    assert loader_files.NETWORK not in loader_files.settings(None, config, None)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"password": "a long secret"}, "network.ssid is missing"),
        ({"ssid": "", "password": "a long secret"}, "network.ssid must be a text of 1 to 32 bytes"),
        ({"ssid": "x", "password": "secret"}, "network.password must be a text of 8 to 63 bytes"),
        ({"ssid": "x", "key": "a long secret"}, "network must be an object of ssid, password and country"),
        ("a long secret", "network must be an object"),
    ],
)
def test_a_wrong_wireless_lan_is_named_without_its_password(network: object, says: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"network": network}))
    with pytest.raises(TidegateError, match=says) as wrong:
        loader_files.settings(None, config, None)
    assert "secret" not in str(wrong.value)


@pytest.mark.built
def test_the_loader_that_verifies_signatures_fits_where_it_is_executed() -> None:
    board = boards.load(ROOT, "qemu_mps2")
    _, image = loader_image.split(loader_files.loader(ROOT, board, signature=True), board)
    assert image is not None and board.loader
    assert len(image) <= board.loader.size - ROOM
