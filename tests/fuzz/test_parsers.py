"""The stored inputs of coverage-guided fuzzing, once each; and that no parser is missing in the table."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import parsers
import pytest
from patience import limit

ROOT = Path(__file__).resolve().parents[2]
REPLAY = """
import json, sys
sys.path.insert(0, {fuzz!r})
import parsers
left = {{}}
for name, target in parsers.all_targets().items():
    if not name.startswith({side!r}):
        continue
    judge = target.make()
    inputs = [*parsers.stored(name), *target.seeds()]
    left[name] = len(inputs)
    for data in inputs:
        try:
            judge(data)
        except BaseException as error:
            sys.exit(f"{{name}} raised {{type(error).__name__}}: {{error}} for {{data.hex()}}")
print()
print(json.dumps(left))
"""
# The names that parsers have here.
PARSES = ("parse", "decode", "loads", "load", "read", "open", "unpack", "verify", "split")
FOLDERS = {"firmware/lib": "", "firmware/boot": "boot", "tidegate": "tidegate", "ota_server": "ota_server"}


@pytest.mark.parametrize("side", ["device.", "host.", "server."])
def test_stored_inputs_find_nothing(side: str) -> None:
    program = REPLAY.format(fuzz=str(ROOT / "tests/fuzz"), side=side)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=limit(120))
    assert done.returncode == 0, done.stderr[-3000:]
    replayed = json.loads(done.stdout.splitlines()[-1])
    assert replayed and all(replayed.values()), replayed


def parsing_modules() -> set[str]:
    """Import names of all modules with a function named as parsers are."""
    found = set()
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            names = {node.name for node in ast.walk(ast.parse(path.read_text()))
                     if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}  # fmt: skip
            if not any(name.split("_")[0] in PARSES for name in names):
                continue
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if parts[0] == "cli":  # verbs: the parsers that they call have targets
                continue
            parts = (*([package] if package else []), *(part for part in parts if part != "__init__"))
            found.add(".".join(parts))
    return found


def test_every_parser_is_in_the_table() -> None:
    covered = {module for target in parsers.all_targets().values() for module in target.modules}
    missing = parsing_modules() - covered - set(parsers.NOT_OUTSIDE)
    assert not missing, "give them a target (parsers_*.py), or say in NOT_OUTSIDE why they need none"


def test_what_needs_no_target_is_there_and_says_why() -> None:
    covered = {module for target in parsers.all_targets().values() for module in target.modules}
    parsing = parsing_modules()
    for name, why in parsers.NOT_OUTSIDE.items():
        assert name in parsing, f"{name} has no parser any more: take it out of NOT_OUTSIDE"
        assert name not in covered and len(why) > 10, name


def test_the_corpora_are_small_and_of_targets() -> None:
    names = set(parsers.all_targets())
    for path in parsers.CORPORA.glob("*.hex"):
        assert path.stem in names, path.name
        assert path.stat().st_size <= 32_000, f"{path.name} is large; minimise it: coverage.py --keep"
