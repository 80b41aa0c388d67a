"""A board that was flashed before the agent was renamed is updated over the air to what this tree builds.

The old half is the repository's own commit OLD: its tools build and flash, its loader and firmware are on the emulated
Cortex-M3, its server made the database. Then this tree's server and tools take over. What the board had stored must be
there afterwards: a setting, the counters of commands, the floor of the boot record, a rotated trust store, and
telemetry that the old agent could not send any more. The loader stays the old one.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from typing import Any

import counter_app
import pytest
from lab import Installation, attacker
from lab.processes import ROOT
from old_tree import old_tree
from shared_board import DEVICE

OLD = "5d1d285"  # the last one whose agent is imported as `tidegate`
WAIT_S = 120


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Old server, old tools, an old board that runs 1.0.0 and has taken a setting and a new trust store."""
    root = old_tree(OLD)
    with Installation(tmp_path_factory.mktemp("e2e") / "place", broker="mosquitto", root=root) as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.put_application(counter_app.source(period_ms=50, before_rooms=True))
        made.build("1.0.0", 1)
        board = made.add_board(DEVICE, firmware=root / "build/qemu_mps2/firmware.elf")
        made.flash(board, DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", WAIT_S)
        made.publish("1.0.0")
        ask(made, "config.set", "log_level=debug")
        rotate(made)
        made.wait("the rotated trust store", lambda: made.api.device(DEVICE)["trust"]["version"] == 2, WAIT_S)
        yield made


def ask(place: Installation, opcode: str, *words: str) -> dict[str, Any]:
    """The answer to a signed command, which must be done."""
    key = ("--key", place.key("command"))
    told = json.loads(place.tidegate("cmd", "send", DEVICE, opcode, *words, *key, "--wait", str(WAIT_S), "--json"))
    assert told["outcome"] == "done", told
    return dict(told["result"].get("answer", {}))


def rotate(place: Installation) -> None:
    """Publish version 2 of the trust store, with a second release key."""
    file = place.folder / "trust-2.update"
    place.tidegate("key", "new", "--role", "release", "--out", place.key("release-2"))
    place.tidegate("trust", "rotate", place.trust, "--add", f"{place.key('release-2')}.pub", "--out", file)
    place.tidegate("trust", "sign", file, "--key", place.key("root"))
    place.tidegate("trust", "publish", file)


def rows(place: Installation, statement: str, *values: Any) -> list[Any]:
    with sqlite3.connect(place.data / "tidegate.db", timeout=20) as database:
        return database.execute(statement, values).fetchall()


def arrived(place: Installation, boot: int) -> set[int]:
    """The counted values of this boot that are in the server's database."""
    found = place.api.telemetry(DEVICE, {"name": "n"}, 20_000)
    return {int(one["value"]) for one in found if int(one["value"]) // 100000 == boot}


def counted(place: Installation, boot: int) -> int:
    """The last value that the application of this boot took."""
    words = [line.split() for line in place.boards[0].lines]
    return max(int(one[1]) for one in words if one[:1] == ["counted"] and int(one[1]) // 100000 == boot)


def publish(
    place: Installation, version: str, sequence: int, previous: tuple[str, ...] = (), healthy: bool = True
) -> None:
    """Build, sign and publish a release of this tree."""
    place.put_application(counter_app.source(version, period_ms=50, healthy=healthy))
    place.build(version, sequence, previous=previous)
    place.publish(version)


def test_an_old_board_is_updated_and_keeps_what_it_had_stored(place: Installation) -> None:
    old = place.api.device(DEVICE)
    assert "agent tidegate 1.0.0" in place.boards[0].lines
    assert old["settings"]["log_level"] == "debug", old["settings"]
    floor = ask(place, "update.status")["floor"]
    used = bytes(rows(place, "SELECT message FROM command WHERE outcome = 'done' ORDER BY id DESC LIMIT 1")[0][0])
    history = {table: rows(place, f"SELECT count(*) FROM {table}")[0][0] for table in ("release", "report", "command")}

    # This tree's server opens the old one's database, and its tools go on.
    place.stop_server()
    place.root = ROOT
    shutil.rmtree(place.source)
    place.copy_source()
    place.start_server()
    for table, count in history.items():
        assert rows(place, f"SELECT count(*) FROM {table}")[0][0] >= count, table
    shown = place.wait_running(DEVICE, "1.0.0", WAIT_S)
    assert shown["trust"] == {"version": 2, "newest": 2, "state": "current"}
    published = [(one["version"], one["sequence"]) for one in place.api.releases()["releases"]]
    assert published == [("1.0.0", 1)]

    # The whole image, as an old board gets it. The broker goes away before the restart: what is counted from then on
    # waits on flash for the new agent.
    board, before, mark = place.boards[0], place.last_report(DEVICE), len(place.boards[0].lines)
    publish(place, "2.0.0", 2)
    board.wait_line("sequence 2 offered, image", WAIT_S, mark)
    assert place.mosquitto is not None
    place.mosquitto.stop()
    sent = arrived(place, 1)
    board.wait_line("agent gate 2.0.0", WAIT_S, mark)
    place.mosquitto.start()
    assert place.wait_report(DEVICE, "confirmed", before, WAIT_S)["sequence"] == 2
    place.wait_running(DEVICE, "2.0.0", WAIT_S)

    # What the old agent had stored.
    shown = place.api.device(DEVICE)
    assert shown["settings"]["log_level"] == "debug", shown["settings"]
    assert shown["trust"] == {"version": 2, "newest": 2, "state": "current"}
    status = ask(place, "update.status")
    assert (status["sequence"], status["version"], status["trial"]) == (2, "2.0.0", False)
    assert status["floor"] >= floor, status
    last = counted(place, 1)
    place.wait("the old agent's last value", lambda: last in arrived(place, 1), WAIT_S)
    values = arrived(place, 1)
    assert values == set(range(min(values), last + 1))
    assert values - sent, "the new agent sent nothing that the old one had stored"
    attacker.publish(place, f"tg/{DEVICE}/down/cmd", used)
    place.wait("the alarm of the replay", lambda: place.api.alarms.listed(50)["alarms"], WAIT_S)
    alarms = [(one["kind"], one["reason"]) for one in place.api.alarms.listed(50)["alarms"]]
    assert alarms == [("command-refused", "replay")], alarms


def test_the_new_agent_carries_out_commands_with_the_old_loader(place: Installation) -> None:
    slots = ask(place, "slots.verify")
    assert {entry[0] for entry in slots.values()} == {1, 2}, slots
    assert all(entry[2] for entry in slots.values()), slots


def test_the_next_update_passes(place: Installation) -> None:
    before = place.last_report(DEVICE)
    publish(place, "2.1.0", 3, previous=("2.0.0",))
    assert place.wait_report(DEVICE, "confirmed", before, WAIT_S)["sequence"] == 3
    place.wait_running(DEVICE, "2.1.0", WAIT_S)


def test_a_trial_is_ended_by_a_command(place: Installation) -> None:
    board, before, mark = place.boards[0], place.last_report(DEVICE), len(place.boards[0].lines)
    publish(place, "2.2.0", 4, previous=("2.1.0",), healthy=False)
    board.wait_line("agent gate 2.2.0", WAIT_S, mark)
    place.wait("the trial", lambda: (d := place.api.device(DEVICE))["online"] and d["trial"], WAIT_S)
    mark = len(board.lines)
    assert ask(place, "update.rollback")["to_sequence"] == 3
    board.wait_line("agent gate 2.1.0", WAIT_S, mark)
    assert place.wait_report(DEVICE, "rolled-back", before, WAIT_S)["sequence"] == 4
