"""What flashing puts beside an image: the loader's libraries, complete and no more, and what it is told."""

from __future__ import annotations

import ast
from pathlib import Path

from tidegate import boards, loaderfiles

ROOT = Path(__file__).resolve().parent.parent.parent
LIB = ROOT / "firmware" / "lib"


def test_the_library_holds_all_that_its_modules_import() -> None:
    found = loaderfiles.library(ROOT)
    assert {"cose.py", "ed25519.py", "tidegate/envelope.py", "tidegate/suit.py", "tidegate/trust.py"} <= set(found)
    for path in found.values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            else:
                continue
            for name in names:
                file = name.replace(".", "/") + ".py"
                assert file in found or not (LIB / file).exists(), f"{path} imports {name}"


def test_the_library_leaves_out_what_judges_nothing() -> None:
    found = set(loaderfiles.library(ROOT))
    assert not found & {"mqtt.py", "httpget.py", "bspatch.py", "tidegate/agent.py", "tidegate/updater.py"}


def test_only_a_loader_that_verifies_signatures_gets_the_library() -> None:
    board = boards.load(ROOT, "unix")
    plain = loaderfiles.loader(ROOT, board, signature=False)
    signed = loaderfiles.loader(ROOT, board, signature=True)
    assert list(plain)[-1] == list(signed)[-1] == "/main.py"
    assert {path for path in signed if path not in plain} == {
        f"{loaderfiles.LIBRARY}/{name[:-3]}.mpy" for name in loaderfiles.library(ROOT)
    }
    assert {path for path in plain if not path.startswith("/boot/")} == {"/main.py"}


def test_what_was_told_before_stays_unless_asked_otherwise() -> None:
    unix, mps2 = boards.load(ROOT, "unix"), boards.load(ROOT, "qemu_mps2")
    assert loaderfiles.told({}, None, None, unix) == {"slots": "file", "verify": "digest"}
    assert loaderfiles.told({}, None, None, mps2) == {"slots": "rom", "verify": "digest"}
    before = {"slots": "file", "verify": "signature"}
    assert loaderfiles.told(before, None, None, mps2) == before
    assert loaderfiles.told(before, "rom", "digest", mps2) == {"slots": "rom", "verify": "digest"}
    assert loaderfiles.told({"slots": "ram", "verify": 1}, None, None, mps2) == {"slots": "rom", "verify": "digest"}
