"""Every package of firmware/packages is whole: its files exist, and import nothing that is not in it or built in."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[3] / "firmware/packages"
BUILT_IN = {"asyncio", "binascii", "deflate", "errno", "gc", "hashlib", "io", "json", "micropython", "os"}
# What CPython lacks of MicroPython: no board needs it.
BUILT_IN |= {"aiotcp_cpython"}
# Native modules: machine code for one core, that a library uses where it finds it and does without.
BUILT_IN |= {"_ed25519", "_bspatch"}
BUILT_IN |= {"array", "collections", "zlib", "random", "re", "socket", "ssl", "struct", "sys", "time"}


def packages() -> list[Path]:
    return sorted(path.parent for path in PACKAGES.glob("*/package.json"))


@pytest.mark.parametrize("package", packages(), ids=lambda path: path.name)
def test_package_is_whole(package: Path) -> None:
    listed = dict(json.loads((package / "package.json").read_text())["urls"])
    for name, url in listed.items():
        source = package / url
        assert source.is_file(), f"{package.name} lists {url}, which does not exist"
        missing = imports(source) - BUILT_IN - {Path(other).parts[0].removesuffix(".py") for other in listed}
        assert not missing, f"{name} imports {missing}, which package {package.name} does not carry"
    assert frozen(package) == set(listed), "manifest.py freezes what package.json installs"


def test_there_are_packages() -> None:
    assert {path.name for path in packages()} >= {"mqtt", "http_client"}


def imports(source: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def frozen(package: Path) -> set[str]:
    """The file names that manifest.py hands to module()."""
    calls = [node for node in ast.walk(ast.parse((package / "manifest.py").read_text())) if isinstance(node, ast.Call)]
    return {ast.literal_eval(call.args[0]) for call in calls if getattr(call.func, "id", "") == "module"}
