"""What the host knows of the devices' opcodes, against the devices' own table."""

from __future__ import annotations

import ast

from projects import ROOT

from tidegate.wire import opcode_roles

TABLE = ROOT / "firmware" / "lib" / "gate" / "commands" / "builtin_opcodes.py"


def roles() -> dict[str, str]:
    """{opcode: the name of its role} of the table in the sources."""
    for node in ast.parse(TABLE.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TABLE":
            assert isinstance(node.value, ast.Dict)
            entries = zip(node.value.keys, node.value.values, strict=True)
            return {key.value: entry.args[1].id for key, entry in entries}  # type: ignore[union-attr, attr-defined]
    raise AssertionError(f"{TABLE} has no TABLE")


def test_what_does_more_than_read() -> None:
    found = roles()
    assert {"ping", "reboot"} <= set(found) and set(found.values()) <= {"READ", "OPERATE", "DANGEROUS"}
    assert {name for name, role in found.items() if role != "READ"} == set(opcode_roles.NOT_READ)
