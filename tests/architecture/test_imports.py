"""Arrows between modules go one way: docs/architecture.md, "Who may know whom", checked against every import.

Why not import-linter: it reads packages that can be imported, so neither the device's code (several roots, one of them
`boot`, completed by boards/common) nor C. One checker for all sides is less than one and a half.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import CONTRACTS, GATE, HOST, LIBRARIES, LOADER, ROOT, RULES, SERVER, Contract, c_graph, top_room
from import_graph import circles, graph, modules

PORT = ROOT / "boards/qemu_mps2/src"


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name.replace(" ", "-"))
def test_the_contract_holds(contract: Contract) -> None:
    assert len(contract.files()) > 5, "the modules were not found"
    assert contract.broken() == []


def test_the_c_port_has_no_circle() -> None:
    found = c_graph(PORT)
    assert "uart" in found["main"], "the calls were not found"
    assert circles(found) == []


# ---------------------------------------------------------------- the checks can fail


def tree(folder: Path, **texts: str) -> Path:
    """A package `p` of these modules; "a__b" is module b in folder a."""
    for name, text in {"__init__": "", **texts}.items():
        path = folder / "p" / f"{name.replace('__init__', '@').replace('__', '/').replace('@', '__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "p"


def imports(folder: Path, **texts: str) -> dict[str, set[str]]:
    return graph(modules(tree(folder, **texts), "p"))


@pytest.mark.parametrize(
    "text",
    [
        "import p.b",
        "from p import b",
        "from p.b import x",
        "from . import b",
        "from .b import x as y",
        "def late():\n    from p.b import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import b",
        "late = __import__('p.b')",
        "import importlib\nlate = importlib.import_module('p.b')",
        "try:\n    import p.b as quick\nexcept ImportError:\n    quick = None",
    ],
)
def test_every_way_to_import_counts(tmp_path: Path, text: str) -> None:
    assert imports(tmp_path, a=text, b="x = 1")["p.a"] == {"p.b"}


def test_what_is_no_import_does_not_count(tmp_path: Path) -> None:
    found = imports(tmp_path, a='"""import p.b"""\n# from p import b\nname = "p.b"\nimport pb', b="")
    assert found["p.a"] == set()


def test_relative_imports_of_a_package_and_of_its_modules(tmp_path: Path) -> None:
    found = imports(
        tmp_path,
        a="",
        r____init__="from . import m\nfrom ..a import x",
        r__m="from .. import a\nfrom . import n",
        r__n="",
    )
    assert found["p.r"] == {"p.r.m", "p.a"}
    assert found["p.r.m"] == {"p.a", "p.r.n"}


def test_circles_of_two_and_of_three() -> None:
    assert circles({"a": {"b"}, "b": {"a"}, "c": {"a"}}) == [["a", "b"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"d"}}) == [["a", "b", "c"], ["d"]]
    assert circles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


FLOORS = Contract("p", dict, top_room, (("p", "low"), ("left", "right"), ("high",)), frozenset({"flask"}))


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"low__a": "def late():\n    import p.high.a", "high__a": ""}, "p.low.a imports p.high.a"),
        ({"left__a": "import p.right.a", "right__a": ""}, "p.left.a imports p.right.a"),
        ({"high__a": "from p.high import b", "high__b": "from p.high import a"}, "a circle: p.high.a, p.high.b"),
        ({"high__a": "from flask import g"}, "p.high.a imports flask"),
    ],
)
def test_a_contract_that_is_broken_says_where(tmp_path: Path, texts: dict[str, str], words: str) -> None:
    said = FLOORS.broken(modules(tree(tmp_path, **texts), "p"))
    assert len(said) == 1 and said[0].startswith(words), said


def test_down_and_within_a_room_is_free(tmp_path: Path) -> None:
    texts = {"high__a": "from p.low import b\nfrom p.high import c", "low__b": "", "high__c": "import cbor2"}
    assert FLOORS.broken(modules(tree(tmp_path, **texts), "p")) == []


def test_a_new_room_needs_a_floor(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="stands on no floor"):
        FLOORS.broken(modules(tree(tmp_path, attic__a="import p.low.b", low__b=""), "p"))


@pytest.mark.parametrize(
    ("contract", "module", "line", "words"),
    [
        (HOST, "tidegate.errors", "from tidegate import cli", "tidegate.errors imports tidegate.cli"),
        (HOST, "tidegate.wire.cose", "import tidegate.trust.keys", "tidegate.wire.cose imports tidegate.trust.keys"),
        (HOST, "tidegate.release.build", "import ota_server.store", "tidegate.release.build imports ota_server"),
        (HOST, "tidegate.client", "    import flask", "tidegate.client imports flask"),
        (HOST, "tidegate.wire.senml", "import gate", "tidegate.wire.senml imports gate"),
        (
            SERVER,
            "ota_server.store.devices",
            "import ota_server.api",
            "ota_server.store.devices imports ota_server.api",
        ),
        (SERVER, "ota_server.fleet.groups", "import ota_server.api.devices", "ota_server.fleet.groups imports"),
        (SERVER, "ota_server.mqtt.worker", "import ota_server.coap.server", "ota_server.mqtt.worker imports"),
        (RULES, "ota_server.releases.accept", "    from flask import g", "ota_server.releases.accept imports flask"),
        (GATE, "gate.clock", "import gate.agent", "gate.clock imports gate.agent"),
        (GATE, "gate.update.plan", "from gate.commands import verify", "gate.update.plan imports gate.commands.verify"),
        (GATE, "gate.commands.call", "import gate.commands.ops.files", "gate.commands.call imports"),
        (GATE, "gate.device", "    import boot", "gate.device imports boot"),
        (LIBRARIES, "cose", "from gate import clock", "cose imports gate"),
        (LOADER, "boot.record", "import gate.files", "boot.record imports gate"),
        (LOADER, "boot.verify", "import cbor", "boot.verify imports cbor"),
    ],
)
def test_a_line_too_many_in_the_real_tree_is_found(
    tmp_path: Path, contract: Contract, module: str, line: str, words: str
) -> None:
    files = contract.files()
    spoiled = tmp_path / files[module].name
    indented = f"\n\ndef late():\n{line}\n" if line.startswith(" ") else f"\n\n{line}\n"
    spoiled.write_text(files[module].read_text() + indented)
    new = set(contract.broken({**files, module: spoiled})) - set(contract.broken())
    assert any(said.startswith(words) for said in new), new


def test_a_circle_of_calls_in_c_is_found(tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text("void one_go(int n) {\n    two_go();\n}\n/* three_go() */\n")
    (tmp_path / "two.c").write_text(
        "static int helper(void) { return 1; }\nint two_go(void) {\n    return helper();\n}\n"
    )
    (tmp_path / "three.c").write_text("void three_go(void) {\n    one_go(1);\n}\n")
    assert c_graph(tmp_path) == {"one": {"two"}, "two": set(), "three": {"one"}}
    (tmp_path / "two.c").write_text("int two_go(void) {\n    one_go(2);\n    return 0;\n}\n")
    assert circles(c_graph(tmp_path)) == [["one", "two"]]
