"""What devices sign with their own keys: stored for the boot it is of, passed on as it came."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import old_database
import pytest
from alembic import command
from device_commands import send
from server_process import KeyRing, ServerProcess, eventually
from sqlalchemy import text

from tidegate.commands import cwt
from tidegate.wire.cbor import dumps

PROOF = bytes(range(200))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, KeyRing]]:
    folder = tmp_path_factory.mktemp("proofs")
    ring = KeyRing(folder)
    server = ServerProcess(folder / "data", "--trust", str(ring.trust))
    yield server, ring
    server.stop()
    assert "Traceback" not in server.log.read_text()


def test_a_births_proof_counts_for_its_boot(running: tuple[ServerProcess, KeyRing]) -> None:
    server, _ = running
    device = server.device("gw-birth")

    def shown() -> tuple[str | None, str | None]:
        found = server.shown("gw-birth")
        return found["nonce"], found["birth_proof"]

    first, second = bytes(8), b"\x01" * 8
    for nonce, proof, kept in (
        (first, None, None),
        (first, PROOF, PROOF),
        (first, None, PROOF),  # the same boot, before the board had signed it, came late
        (second, None, None),
        (second, PROOF[1:], PROOF[1:]),
    ):
        device.born(_7=nonce, **({} if proof is None else {"_15": proof}))
        wanted = (nonce.hex(), kept and kept.hex())
        eventually(lambda wanted=wanted: shown() == wanted)
    for bad in (b"", bytes(513), "signed", 7):
        device.born(_7=bytes(7) + b"\x02", _15=bad)
    eventually(lambda: "bad-message" in [alarm["kind"] for alarm in server.shown("gw-birth")["alarms"]])
    assert shown() == (second.hex(), PROOF[1:].hex())
    device.leave()


def test_a_signed_result_is_shown_as_it_came(running: tuple[ServerProcess, KeyRing]) -> None:
    server, ring = running
    device = server.device("gw-result")
    device.born()
    eventually(lambda: server.shown("gw-result")["nonce"])
    now = int(time.time())
    for counter, prove in ((1, True), (2, False)):
        asked = cwt.Command("gw-result", "info", {}, counter.to_bytes(8, "big"), now, now + 600, bytes(range(8)), prove)
        assert send(server, "gw-result", cwt.make(ring.command, asked)).status_code == 202
        result = {1: asked.cti, 2: 0, 3: {"raw": b"\x01", "text": "a\x07b"}, **({7: PROOF} if prove else {})}
        eventually(lambda cti=asked.cti: any(cti in payload for _, payload, _ in device.heard))
        device.say("result", result)
        path = f"/commands/{counter:016x}"
        eventually(lambda path=path: server.api("GET", path)["outcome"] == "done")
        found = server.api("GET", path)["result"]
        assert found.get("signed") == (dumps(result).hex() if prove else None)
        assert found["answer"] == {"raw": "01", "text": "a\ufffdb"}
    device.leave()


def test_a_database_of_before_takes_the_new_column_and_gives_it_back(tmp_path: Path) -> None:
    engine, move = old_database.make(tmp_path)

    device = (
        "insert into device (id, board, product, password_hash, created_at, protocol, online, trial) "
        "values ('gw-1', 'unix', 'p', 'x', 1, 'mqtt', 0, 0)"
    )
    move(command.upgrade, "0009")
    with engine.begin() as db:
        db.execute(text(device))
    move(command.upgrade, "0010")
    with engine.begin() as db:
        assert tuple(db.execute(text("select id, birth_proof from device")).one()) == ("gw-1", None)
    move(command.downgrade, "0009")
    with engine.begin() as db:
        assert db.execute(text("select id from device")).scalar() == "gw-1"
    move(command.upgrade, "head")
    engine.dispose()
