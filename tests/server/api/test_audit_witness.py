"""A log that was edited, cut or made anew shows, to whoever wrote down a head of it before."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from server_process import ServerProcess

from tidegate.audit_chain import GENESIS, entry_hash
from tidegate.cli import main

Change = Callable[[list[list[Any]]], list[list[Any]]]


def run(server: ServerProcess, *words: str, **env: str) -> Result:
    given = {"TIDEGATE_SERVER": server.url, "TIDEGATE_TOKEN_FILE": str(server.data / "admin.token"), **env}
    return CliRunner().invoke(main, list(words), env=given)


def make_anew(data: Path, change: Change) -> None:
    """What an attacker does who can write the database: change entries, and make the chain whole again."""
    with sqlite3.connect(data / "tidegate.db") as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"):
            db.execute(f"DROP TRIGGER {name}")
        rows = [list(row) for row in db.execute("SELECT id, at, actor, action, subject, detail FROM audit ORDER BY id")]
        db.execute("DELETE FROM audit")
        previous = GENESIS
        for number, at, actor, action, subject, detail in change(rows):
            hashed = entry_hash(previous, at, actor, action, subject, json.loads(detail))
            entry = (number, at, actor, action, subject, detail, previous, hashed)
            db.execute(
                "INSERT INTO audit (id, at, actor, action, subject, detail, previous, hash) VALUES (?,?,?,?,?,?,?,?)",
                entry,
            )
            previous = hashed


def edit(rows: list[list[Any]]) -> list[list[Any]]:
    rows[1][4] = "another"
    return rows


CHANGES: dict[str, tuple[Change, str]] = {
    "edited": (edit, "made anew"),
    "cut at the end": (lambda rows: rows[:-2], "was cut"),
    "cut in the middle": (lambda rows: rows[:1] + rows[2:], "made anew"),
    "numbered anew": (
        lambda rows: [[n, *row[1:]] for n, row in enumerate(rows[:1] + rows[2:], 1)],
        "made anew",
    ),
    "emptied": (lambda rows: [], "was cut"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_log_made_anew_shows(start: Callable[..., ServerProcess], tmp_path: Path, kind: str) -> None:
    server = start(trusting=False)
    for number in range(3):
        server.register(f"gw-{number}")
    witness = tmp_path / "witness.heads"
    words = ("audit", "verify", "--against", str(witness))
    first = run(server, *words)
    assert first.exit_code == 0 and "whole up to entry 5; heads seen that are in it: 0" in first.output, first.output
    server.register("gw-3")
    again = run(server, *words, "--json")
    assert json.loads(again.stdout)["witnessed"] == 1 and len(witness.read_text().splitlines()) == 2
    change, said = CHANGES[kind]
    make_anew(server.data, change)
    if kind != "emptied":  # the chain itself is whole
        assert server.api("GET", "/audit")["whole"]
    found = run(server, *words)
    assert found.exit_code == 1 and said in found.stderr, found.output
    assert len(witness.read_text().splitlines()) == 2


def test_verbs_that_change_something_are_witnesses(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = start(trusting=False)
    heads = str(tmp_path / "heads")
    assert run(server, "device", "add", "gw-1", "--board", "unix", TIDEGATE_WITNESS=heads).exit_code == 0
    assert run(server, "device", "list", TIDEGATE_WITNESS=heads).exit_code == 0
    [line] = Path(heads).read_text().splitlines()
    assert json.loads(line)["server"] == server.url
    assert run(server, "audit", "verify", "--against", heads).exit_code == 0
    make_anew(server.data, edit)
    assert run(server, "audit", "verify", TIDEGATE_WITNESS=heads).exit_code == 1


def test_on_the_servers_own_machine(start: Callable[..., ServerProcess]) -> None:
    server = start(trusting=False)
    server.cli("token", "new", "--scope", "admin", "--name", "intruder")
    assert server.cli("audit").stdout == "the audit log is whole\n"
    make_anew(server.data, lambda rows: rows[:-1] + [[*rows[-1][:4], "somebody", rows[-1][5]]])
    with pytest.raises(subprocess.CalledProcessError) as found:
        server.cli("audit")
    assert found.value.returncode == 1 and "made anew" in found.value.stderr


def test_all_of_a_long_log_is_fetched(start: Callable[..., ServerProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    server = start(trusting=False)
    for number in range(7):
        server.register(f"gw-{number}")
    monkeypatch.setattr("tidegate.client.server.MAX_PAGE", 3)
    assert "whole up to entry 9" in run(server, "audit", "verify").output
    pages = [server.api("GET", f"/audit?since={after}&limit=4")["entries"] for after in (0, 4, 8)]
    assert [entry["id"] for page in pages for entry in page] == list(range(1, 10))


@pytest.mark.parametrize("content", [b"no JSON\n", b"[]\n", b'{"id": true, "hash": ""}\n', b'{"id": 1}\n'])
def test_a_damaged_witness_is_named(shared: ServerProcess, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    found = run(shared, "audit", "verify", "--against", str(tmp_path / "w"))
    assert found.exit_code == 1 and "line 1, is damaged" in found.stderr


def test_an_unfinished_line_does_not_count(shared: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b'{"id": 1, "ha')
    assert run(shared, "audit", "verify", "--against", str(tmp_path / "w")).exit_code == 0
    lines = (tmp_path / "w").read_text().splitlines()
    assert lines[0] == '{"id": 1, "ha' and json.loads(lines[1])["id"] > 0
