"""docs/threats.md leaves no threat of the lists out, and each answer has a test that is there.

That those tests ran, too, is looked at by tests/conftest.py at the end of a session.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import threat_table

ROOT = Path(__file__).resolve().parents[2]

# RFC 9124, section 4.2.
RFC_9124 = [
    "THREAT.IMG.EXPIRED",
    "THREAT.IMG.EXPIRED.OFFLINE",
    "THREAT.IMG.INCOMPATIBLE",
    "THREAT.IMG.FORMAT",
    "THREAT.IMG.LOCATION",
    "THREAT.NET.REDIRECT",
    "THREAT.NET.ONPATH",
    "THREAT.IMG.REPLACE",
    "THREAT.IMG.NON_AUTH",
    "THREAT.UPD.WRONG_PRECURSOR",
    "THREAT.UPD.UNAPPROVED",
    "THREAT.IMG.DISCLOSURE",
    "THREAT.MFST.OVERRIDE",
    "THREAT.MFST.EXPOSURE",
    "THREAT.IMG.EXTRA",
    "THREAT.KEY.EXPOSURE",
    "THREAT.MFST.MODIFICATION",
    "THREAT.MFST.TOCTOU",
]
# The Update Framework's specification, section 1.5.2.
TUF = (
    "Arbitrary software installation",
    "Rollback",
    "Fast-forward",
    "Indefinite freeze",
    "Endless data",
    "Slow retrieval",
    "Extraneous dependencies",
    "Mix-and-match",
    "Wrong software installation",
    "Malicious mirrors preventing updates",
    "Vulnerability to key compromises",
)
# The Uptane standard, section 4.2: reading, denying updates, denying function, control.
UPTANE = (
    "Eavesdrop",
    "Drop-request",
    "Slow retrieval (Uptane)",
    "Freeze",
    "Partial bundle installation",
    "Rollback (Uptane)",
    "Endless data (Uptane)",
    "Mixed bundles",
    "Mix-and-match (Uptane)",
    "Arbitrary software",
)
# What a session of this project was asked to be safe from, at least.
OURS = [
    "OUR.SERVER",
    "OUR.DATABASE",
    "OUR.BROKER",
    "OUR.PAYLOADS",
    "OUR.REPLAY",
    "OUR.WRONG-TARGET",
    "OUR.GROUP",
    "OUR.FALSE-BOOT",
    "OUR.FALSE-ANSWER",
    "OUR.ENROL-ID",
    "OUR.CLAIM",
    "OUR.CLONE",
    "OUR.NEIGHBOUR",
    "OUR.STARVE",
    "OUR.HTTP-FLOOD",
    "OUR.LOG",
    "OUR.TERMINAL",
    "OUR.ODD-ANSWER",
    "OUR.OUTPUT",
    "OUR.COST",
    "OUR.FORGERS",
    "OUR.POISON",
    "OUR.PARSERS",
    "OUR.CABLE",
    "OUR.POWER",
    "OUR.BAD-RELEASE",
    "OUR.VETO",
    "OUR.ENDS",
    "OUR.AUDIT",
    "OUR.PLAIN",
    "OUR.READ-ALIKE",
    "OUR.FLOOD",
    "OUR.GROUND",
    "OUR.SECRETS",
    "OUR.STOLEN-BOARD",
    "OUR.DEPENDENCIES",
    "OUR.OPERATOR",
]


@pytest.mark.parametrize(
    ("section", "threats"), [("RFC 9124", RFC_9124), ("TUF", TUF), ("Uptane", UPTANE), ("Ours", OURS)]
)
def test_every_threat_of_the_list_is_there_once(section: str, threats: list[str]) -> None:
    found = [row.threat for row in threat_table.rows() if row.section == section]
    assert len(found) == len(set(found))
    missing, more = set(threats) - set(found), set(found) - set(threats)
    assert not missing, "give them a line in docs/threats.md"
    assert not more or section == "Ours", "no threat of that list"


@pytest.mark.parametrize("row", threat_table.rows(), ids=lambda row: row.threat)
def test_it_is_answered_or_said_not_to_be(row: threat_table.Row) -> None:
    assert row.gains and row.answer
    assert row.tests, "name the test that fails if the answer stops being true"


@pytest.mark.parametrize(("file", "name"), sorted(threat_table.named_tests()))
def test_its_test_is_there(file: str, name: str) -> None:
    path = ROOT / file
    assert path.is_file(), file
    functions = {
        node.name: node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in functions and name.startswith("test_"), f"{file} collects no {name}"
    marks = [ast.unparse(mark) for mark in functions[name].decorator_list]
    assert not any(re.search(r"mark\.(skip|xfail)\b", mark) for mark in marks), f"{name} never runs: {marks}"
