"""Nothing that others wrote reaches a terminal as it is, and all that is printed takes one way."""

from __future__ import annotations

import ast
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import ROOT

from tidegate.cli import _common
from tidegate.visible import visible, visible_lines, visible_value

PRINTERS = {"echo", "secho", "echo_via_pager", "print", "style"}
# The functions that may write to a terminal themselves: they make text visible first.
ALLOWED = {"say", "complain", "emit", "_print", "serve"}


@given(st.text(alphabet=st.characters(categories=None)))
def test_nothing_hidden_is_left_and_twice_changes_nothing(text: str) -> None:
    for made in (visible(text), visible_lines(text).replace("\n", "").replace("\t", "")):
        assert not any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for one in made)
    assert visible(visible(text)) == visible(text)
    assert visible_lines(visible_lines(text)) == visible_lines(text)


@pytest.mark.parametrize("text", ["gate-1", "Übergabe 7 °C, 東京", "a → b", "50 %"])
def test_what_is_printable_stays(text: str) -> None:
    assert visible(text) == text


def test_each_kind_is_shown_by_its_escape() -> None:
    assert visible("a\x1b[2J\x9b\x7f\u202e\ud800\u2028\n") == "a\\x1b[2J\\x9b\\x7f\\u202e\\ud800\\u2028\\n"
    assert visible_lines("a\r\n\tb\rc") == "a\n\tb\\rc"


def test_names_and_nested_values_too() -> None:
    assert visible_value({"a\x1b": [{"b": "\n"}], "output": "x\ny"}) == {"a\\x1b": [{"b": "\\n"}], "output": "x\ny"}


def test_json_is_ascii_and_says_the_same() -> None:
    value = {"a\x7f": "\x1b\u202e\ud800\n\x7f"}
    made = _common.in_json(value)
    assert made.isascii() and made.isprintable() and json.loads(made) == value


def test_everything_is_printed_by_one_way() -> None:
    found = []
    for path in sorted([*(ROOT / "tidegate").rglob("*.py"), *(ROOT / "ota_server" / "cli").glob("*.py")]):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef) or function.name in ALLOWED or path.name == "on_board.py":
                continue  # that one runs on the board
            for call in ast.walk(function):
                if isinstance(call, ast.Call):
                    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                    if name in PRINTERS or ast.unparse(call.func) in ("sys.stdout.write", "sys.stderr.write"):
                        found.append(f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)[:60]}")
    assert not found
