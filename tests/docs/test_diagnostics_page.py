"""docs/diagnostics.md tells of every opcode of the catalog, as the catalog has it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
WHO = {"READ": "diagnose", "OPERATE": "command", "DANGEROUS": "dangerous"}


def catalog() -> dict[str, tuple[str, list[str]]]:
    """{opcode: (who may, its arguments)} as the device has it."""
    known: dict[str, Any] = {}
    tree = ast.parse((ROOT / "firmware/lib/gate/commands/builtin_opcodes.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = node.value
    table = known["TABLE"]
    assert isinstance(table, ast.Dict)
    found = {}
    for key, entry in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Constant) and isinstance(entry, ast.Call)
        role, heavy, arguments = entry.args[1], entry.args[3], entry.args[4]
        assert isinstance(role, ast.Name) and isinstance(heavy, ast.Constant) and isinstance(arguments, ast.Dict)
        who = WHO[role.id] + (", heavy" if heavy.value else "")
        names = []
        for name, spec in zip(arguments.keys, arguments.values, strict=True):
            assert isinstance(name, ast.Constant)
            spec = known[spec.id] if isinstance(spec, ast.Name) else spec
            assert isinstance(spec, ast.Tuple)
            names.append(f"{name.value!s}{'?' if len(spec.elts) == 4 else ''}")
        found[str(key.value)] = (who, names)
    return found


def page() -> dict[str, tuple[str, list[str]]]:
    text = (ROOT / "docs" / "diagnostics.md").read_text().split("## The catalog")[1].split("\n## ")[0]
    found = {}
    for name, who, arguments in re.findall(r"^\| `([a-z._]+)` \| ([^|]+) \| ([^|]*)\|", text, re.MULTILINE):
        names = ["*"] if "any " in arguments else []
        for argument, default in re.findall(r"`([a-z_]+)`( \[[^\]]+\])?", arguments):
            names.append(argument + ("?" if default else ""))
        found[name] = (who.strip(), names)
    return found


def test_the_table_is_the_catalog() -> None:
    assert list(page()) == sorted(catalog())
    assert page() == catalog()
