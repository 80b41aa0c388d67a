"""`tidegate device claim` and its kin as people use them, against a real server."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from patience import limit
from test_with_server import Running, server  # noqa: F401 - a fixture

from tidegate import enrolment
from tidegate.trust import keys

Cli = Callable[..., Result]


def enrol(running: Running, claim: enrolment.Claim) -> str:
    """A board uses the claim; its id."""
    key = keys.new("release")
    about = enrolment.Request(key.public, claim.id, "unix", "tidegate-gateway", bytes(8), bytes(16))
    body = enrolment.encode_request(about, key.seed_for("release"), claim.secret)
    answer = httpx.post(f"{running.http}/api/v1/enrol", content=body, timeout=limit(30))
    return enrolment.open_answer(answer.content, claim.secret, bytes(16)).device


def test_from_a_claim_to_a_revoked_device(cli: Cli, server: Running, key_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    store, out = key_folder / "trust.cbor", tmp_path / "gate-7.claim"
    words = ("--trust", store, *server.options)
    made = cli("device", "claim", "--name", "gate-7", "--expires", "12h", "--out", out, *words)
    assert made.exit_code == 0, made.stderr
    assert "valid for one board until" in made.stdout and str(out) in made.stdout
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    claim = enrolment.parse(out.read_text())
    assert claim.trust == enrolment.trust_fingerprint(store.read_bytes())
    assert out.read_text().strip() not in made.stdout
    shown = json.loads(cli("device", "claim", "--json", "--board", "unix", *words).stdout)
    other = enrolment.parse(shown["claim"])
    assert shown["board"] == "unix" and shown["state"] == "open"

    table = cli("device", "claims", *server.options).stdout
    assert claim.id.hex() in table and "gate-7" in table and table.count("open") == 2
    assert claim.text[22:65] not in table
    ended = cli("device", "unclaim", other.id.hex(), *server.options)
    assert ended.stdout == f"Claim {other.id.hex()} is revoked\n"
    states = {
        row["id"]: row["state"]
        for row in json.loads(cli("device", "claims", "--json", *server.options).stdout)["claims"]
    }
    assert states == {claim.id.hex(): "open", other.id.hex(): "revoked"}

    device = enrol(server, claim)
    assert json.loads(cli("device", "show", "gate-7", "--json", *server.options).stdout)["id"] == device
    renamed = cli("device", "rename", "gate-7", "Pump.7", *server.options)
    assert renamed.stdout == f"{device} is called Pump.7\n"
    assert "Pump.7" in cli("device", "list", *server.options).stdout
    other_product = cli("device", "claim", "--device", "Pump.7", "--product", "acme-cooler", *words)
    assert other_product.exit_code == 1 and f"{device} is tidegate-gateway on unix" in other_product.stderr
    assert f"tidegate device set {device} --product" in other_product.stderr
    out_at_once = cli("device", "revoke", "Pump.7", *server.options)
    assert out_at_once.stdout == f"Pump.7 ({device}) is revoked\n"
    assert "revoked" in cli("device", "list", *server.options).stdout
    assert cli("device", "rename", "Pump.7", "", *server.options).stdout == f"{device} is called by its id\n"

    known = json.loads(cli("device", "claims", "--json", *server.options).stdout)
    for words_of in (("claim", "--trust", store), ("add", "gate-8", "--board", "unix")):
        nowhere = cli("device", *words_of, "--out", tmp_path / "no" / "x", *server.options)
        assert nowhere.exit_code == 1 and "cannot write" in nowhere.stderr and "folder" in nowhere.stderr
    assert json.loads(cli("device", "claims", "--json", *server.options).stdout) == known
    assert "gate-8" not in cli("device", "list", *server.options).stdout

    added = cli("device", "add", "gate-9", "--board", "unx", *server.options)
    assert added.exit_code == 0 and "no board unx here. Did you mean unix?" in added.stderr, added.stderr
    again = cli("device", "add", "gate-9", "--board", "unix", *server.options)
    assert (
        again.exit_code == 1 and "tidegate device claim --device gate-9" in again.stderr and "Note" not in again.stderr
    )

    used = cli("device", "unclaim", claim.id.hex(), *server.options)
    assert used.exit_code == 1 and "has used it" in used.stderr and "device revoke" in used.stderr
    for words in (("device", "revoke", "nobody"), ("device", "unclaim", "0" * 16), ("device", "rename", "nobody", "x")):
        gone = cli(*words, *server.options)
        assert gone.exit_code == 1 and gone.stderr.startswith("Error: there is no "), gone.stderr


@pytest.mark.parametrize("expires", ["", "1w", "-1", "soon", "1.5h"])
def test_times_that_are_none(cli: Cli, key_folder: Path, expires: str) -> None:
    done = cli("device", "claim", "--trust", key_folder / "trust.cbor", "--expires", expires)
    assert done.exit_code == 2 and "7d" in done.stderr


def test_a_claim_needs_a_trust_store(cli: Cli, tmp_path: Path) -> None:
    bad = tmp_path / "trust.cbor"
    bad.write_bytes(b"\xa0")
    for words in (("--trust", bad), ("--trust", tmp_path / "none"), ()):
        done = cli("device", "claim", *words)
        assert done.exit_code in (1, 2) and done.stderr, words
