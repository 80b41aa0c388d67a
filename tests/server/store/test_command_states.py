"""The way of a command in the database, on SQLite and on PostgreSQL: every step once, whoever wants it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command as alembic_command
from alembic.config import Config as AlembicConfig

from ota_server.store import Store, commands, engine, migrate, now_ms, retention
from ota_server.store import command_output as joined
from ota_server.store.models import Command, CommandPart, CommandStep, Device
from ota_server.uplink import ingest
from tidegate.wire.cbor import dumps

CTI = bytes(7) + b"\x01"
HOUR_MS = 3_600_000


@pytest.fixture
def store(empty: str) -> Iterator[Store]:
    migrate(empty)
    store = Store(empty)
    with store.write() as session:
        session.add(Device(id="gw-1", board="unix", product="p", password_hash="x", online=True))
    yield store
    store.close()


def add(store: Store, counter: int = 1, state: str = "pending", expires_ms: int = HOUR_MS, **values: Any) -> int:
    """A new command of gw-1; its row."""
    with store.write() as session:
        row = Command(
            device_id="gw-1",
            cti=f"{counter:016x}",
            kid="k",
            opcode="log.tail",
            message=b"signed",
            state=state,
            expires_at=now_ms() + expires_ms,
            **values,
        )
        commands.add(session, row, "token:1:test")
        return row.id


def get(store: Store, row: int) -> Command:
    with store.read() as session:
        found = session.get(Command, row)
        assert found is not None
        return found


def history(store: Store, row: int) -> list[str]:
    with store.read() as session:
        return [step.state for step in commands.steps(session, [session.get(Command, row)])[row]]


def output(store: Store, row: int) -> tuple[str | None, list[int]]:
    with store.read() as session:
        return joined.read(session, session.get(Command, row))


def say(store: Store, message: dict[int, Any], kind: str = "result") -> None:
    refused = ingest.take(store, ingest.Message(f"tg/gw-1/up/{kind}", dumps(message), False))
    assert refused is None, refused


def part(number: int, text: str, cti: bytes = CTI) -> dict[int, Any]:
    return {1: cti, 2: 3, 5: [number, True], 6: text}


def race(store: Store, *steps: Callable[[Any], Any]) -> list[bool]:
    """Take each step in a transaction of its own, all at once, from connections of their own."""
    gate, took = threading.Barrier(len(steps)), [False] * len(steps)
    errors: list[Exception] = []

    def run(number: int) -> None:
        mine = Store(store.engine.url.render_as_string(hide_password=False))
        try:
            gate.wait(30)
            with mine.write() as session:
                took[number] = bool(steps[number](session))
        except Exception as error:
            errors.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(steps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return took


# ---------------------------------------------------------------- the way


def test_the_whole_way_and_its_history(store):
    row = add(store)
    with store.write() as session:
        assert not commands.claim(session, row), "nothing goes out that nobody has checked"
        assert commands.verified(session, row, "command")
        assert not commands.verified(session, row, "command")
        assert commands.claim(session, row) and not commands.claim(session, row)
        assert commands.uplinked(session, row, "the broker") and not commands.uplinked(session, row, "the broker")
    say(store, {1: CTI, 2: 0, 3: {"lines": 3}})
    found = get(store, row)
    assert (found.state, found.outcome, found.role) == ("confirmed", "done", "command")
    assert found.result == {"code": "done", "answer": {"lines": 3}} and found.message == b"signed"
    assert history(store, row) == ["pending", "verified", "uplinked", "confirmed"]
    with store.write() as session:
        assert not commands.over(session)
        session.execute(sa.update(Command).values(expires_at=now_ms() - commands.EXPIRY_GRACE_MS - 1000))
    with store.write() as session:
        assert commands.over(session)
        commands.end(session)
        assert not commands.over(session)
    found = get(store, row)
    assert (found.state, found.message, found.outcome) == ("archived", None, "done")
    assert found.result == {"code": "done", "answer": {"lines": 3}}, "the answer stays"
    assert history(store, row)[-1] == "archived"


@pytest.mark.parametrize(
    ("state", "why"), [("pending", "could not be sent"), ("verified", "could not be sent"), ("uplinked", "no answer")]
)
def test_what_is_late_expires_and_its_message_is_erased(store, state, why):
    row = add(store, state=state, expires_ms=-commands.EXPIRY_GRACE_MS - 1000)
    with store.write() as session:
        commands.end(session)
        commands.erase(session)
    found = get(store, row)
    assert found.state == "expired" and why in found.why and found.message is None
    assert history(store, row) == [state, "expired"]


def test_a_late_answer_still_counts(store):
    row = add(store, state="uplinked", expires_ms=-commands.EXPIRY_GRACE_MS - 1000)
    with store.write() as session:
        commands.end(session)
    say(store, {1: CTI, 2: 1, 4: "OSError: 28"})
    found = get(store, row)
    assert (found.state, found.outcome, found.why) == ("confirmed", "failed", "OSError: 28")
    with store.read() as session:
        last = commands.steps(session, [found])[row][-1]
    assert last.by == "device gw-1" and last.why == "OSError: 28, after it had expired here"


def test_what_a_reset_made_the_board_forget_is_not_waited_for(store):
    """It was made for the last boot: the board would refuse it. What it had begun it answers for, after the reset."""
    rows = [
        add(store, n, "uplinked", nonce=nonce, uplinked_at=now_ms()) for n, nonce in ((1, "a"), (2, "b"), (3, None))
    ]
    with store.write() as session:
        device = session.get(Device, "gw-1")
        device.nonce, device.birth_at = "b", now_ms() + 1
    with store.read() as session:
        assert not commands.over(session), "it may have been in the middle of it, and says so soon"
    with store.write() as session:
        session.execute(sa.update(Command).values(uplinked_at=now_ms() - commands.EXPIRY_GRACE_MS - 2000))
        session.get(Device, "gw-1").birth_at = now_ms() - commands.EXPIRY_GRACE_MS - 1000
    with store.write() as session:
        commands.end(session)
        assert not commands.over(session)
    assert [get(store, row).state for row in rows] == ["expired", "uplinked", "uplinked"]
    assert "restarted" in get(store, rows[0]).why
    say(store, {1: CTI, 2: 1, 4: "interrupted by a reset (watchdog) before it was answered"})
    assert (get(store, rows[0]).state, get(store, rows[0]).outcome) == ("confirmed", "failed")


def test_only_the_first_answer_counts(store):
    row = add(store, state="uplinked")
    say(store, {1: CTI, 2: 0, 3: {"n": 1}})
    say(store, {1: CTI, 2: 0, 3: {"n": 1}})
    say(store, {1: CTI, 2: 2, 4: "replay: counter used before"})
    found = get(store, row)
    assert (found.state, found.outcome, found.result["answer"]) == ("confirmed", "done", {"n": 1})
    assert history(store, row) == ["uplinked", "confirmed"]


def test_a_refusal_keeps_its_reason_and_an_alarm_is_not_the_last_word(store):
    """Whoever can publish can make a device raise an alarm about any counter; its own answer is its own."""
    row = add(store, state="uplinked")
    say(store, {1: "command-refused", 2: "signature", 3: "not by that key", 4: CTI}, "alarm")
    assert (get(store, row).state, get(store, row).outcome) == ("refused", None)
    assert get(store, row).why == "signature: not by that key"
    say(store, {1: CTI, 2: 0, 3: {"n": 1}})
    assert (get(store, row).state, get(store, row).outcome) == ("confirmed", "done")
    say(store, {1: "command-refused", 2: "replay", 4: CTI}, "alarm")
    assert get(store, row).state == "confirmed"
    assert history(store, row) == ["uplinked", "refused", "confirmed"]
    other = add(store, 2, state="uplinked")
    say(store, {1: bytes(7) + b"\x02", 2: 2, 4: "role: a diagnose key may only read"})
    assert (get(store, other).state, get(store, other).outcome) == ("refused", "refused")
    assert get(store, other).why == "role: a diagnose key may only read"


def test_answers_that_belong_to_nothing_are_counted(store):
    for message in ({1: CTI, 2: 0}, part(0, "x")):
        say(store, message)
    with store.read() as session:
        assert ingest.alarms.counters(session) == {"results of unknown commands": 2}


# ---------------------------------------------------------------- races


def test_two_workers_send_it_once(store):
    for counter in range(1, 9):
        row = add(store, counter, state="verified")
        claims = race(store, *[lambda session, row=row: commands.claim(session, row)] * 4)
        assert sum(claims) == 1
        with store.write() as session:
            assert commands.uplinked(session, row, "the broker")
            session.execute(sa.update(Command).where(Command.id == row).values(state="confirmed", outcome="done"))


def test_a_cancel_and_a_worker_want_it_at_once(store):
    """Either it is cancelled and never sent, or it is sent and not cancelled."""
    seen = set()
    for counter in range(1, 13):
        row = add(store, counter, state="verified")
        sent, taken_back = race(
            store,
            lambda session, row=row: commands.claim(session, row),
            lambda session, row=row: commands.cancel(session, row, "token:1:test"),
        )
        assert sent != taken_back
        seen.add(sent)
        found = get(store, row)
        assert (found.state, found.message) == (("verified", b"signed") if sent else ("cancelled", None))
        with store.write() as session:
            assert commands.uplinked(session, row, "the broker") == sent
            session.execute(sa.update(Command).values(state="expired"))


def test_an_answer_and_the_clock_want_it_at_once(store):
    for counter in range(1, 9):
        cti = counter.to_bytes(8, "big")
        row = add(store, counter, state="uplinked", expires_ms=-commands.EXPIRY_GRACE_MS - 1000)
        race(
            store,
            lambda session, cti=cti: commands.answered(session, "gw-1", cti.hex(), "done", {}, None),
            lambda session: commands.end(session),
            lambda session: commands.end(session),
        )
        found = get(store, row)
        assert (found.state, found.outcome) in (("confirmed", "done"), ("archived", "done"))
        steps = history(store, row)
        assert len(steps) == len(set(steps)), steps


def test_two_answers_at_once(store):
    row = add(store, state="uplinked")
    kinds = ("done", "failed", "refused")
    steps = [
        lambda session, kind=kind: commands.answered(session, "gw-1", CTI.hex(), kind, {"code": kind}, None)
        for kind in kinds
    ]
    assert sum(race(store, *steps)) == 1
    assert len(history(store, row)) == 2 and get(store, row).outcome == get(store, row).result["code"]


def test_what_a_dead_worker_had_in_hand_goes_out_again(store):
    row = add(store, state="verified")
    with store.write() as session:
        assert commands.claim(session, row)
        assert not commands.cancel(session, row, "me"), "it may have gone out"
        assert commands.sendable(session, 10) == []
        session.execute(sa.update(Command).values(claimed_at=now_ms() - commands.LEASE_MS - 1))
    with store.write() as session:
        assert [found.id for found in commands.sendable(session, 10)] == [row]
        assert commands.claim(session, row)


def test_in_order_and_no_more_than_the_devices_queue(store):
    """A counter that comes after a higher one would be refused."""
    rows = [add(store, counter, state="verified") for counter in range(1, 8)]
    sent = []
    with store.write() as session:
        assert not commands.claim(session, rows[1]), "the first goes first"
        while found := commands.sendable(session, 10):
            assert len(found) == 1 and commands.claim(session, found[0].id)
            assert commands.sendable(session, 10) == [], "the next waits until this one is gone"
            commands.uplinked(session, found[0].id, "the broker")
            sent.append(found[0].id)
    assert sent == rows[: commands.MOST_IN_FLIGHT]
    say(store, {1: CTI, 2: 0})
    with store.write() as session:
        assert [found.id for found in commands.sendable(session, 10)] == [rows[4]]
        assert commands.claim(session, rows[4]) and commands.uplinked(session, rows[4], "the broker")
        assert commands.sendable(session, 10) == []
        session.execute(sa.update(Command).where(Command.id == rows[4]).values(claimed_at=None))
        session.get(Device, "gw-1").birth_at = now_ms() + 1  # it started anew and has forgotten its queue
        session.flush()
        assert [found.id for found in commands.sendable(session, 10)] == [rows[5]]


# ---------------------------------------------------------------- parts


def test_parts_are_joined_in_order_however_often_they_come(store):
    row = add(store, state="uplinked")
    assert output(store, row) == (None, [])
    for number, text in ((0, "eth0 up\n"), (0, "eth0 up\n"), (2, "end\n"), (0, "another text\n")):
        say(store, part(number, text))
    assert output(store, row) == ("eth0 up\n", []), "up to the gap, while it comes"
    say(store, part(1, "10.0.0.7\n"))
    assert output(store, row)[0] == "eth0 up\n10.0.0.7\nend\n"
    say(store, {1: CTI, 2: 0, 3: {"addresses": 1}, 5: [3, False]})
    say(store, part(1, "10.0.0.7\n"))
    assert output(store, row) == ("eth0 up\n10.0.0.7\nend\n", [])
    assert get(store, row).output_size == len("eth0 up\n10.0.0.7\nend\n")


def test_a_part_that_is_missing_is_said_until_it_comes(store):
    row = add(store, state="uplinked")
    say(store, part(0, "a\n"))
    say(store, part(3, "d\n"))
    say(store, {1: CTI, 2: 0, 5: [5, False]})
    text, missing = output(store, row)
    assert missing == [1, 2, 4]
    assert text == "a\n[part 1 is missing]\n[part 2 is missing]\nd\n[part 4 is missing]\n"
    say(store, part(1, "b\n"))
    assert output(store, row)[1] == [2, 4]


def test_more_than_is_kept(store):
    row = add(store, state="uplinked")
    for number in range(70):
        say(store, part(number, "x" * 1000 + "\n"))
    say(store, {1: CTI, 2: 0, 5: [70, False]})
    text, missing = output(store, row)
    kept = joined.MOST_OUTPUT // 1001
    assert missing == [] and text.endswith(f"[the rest is not kept: more than {joined.MOST_OUTPUT} bytes]\n")
    assert text.count("x\n") == kept and get(store, row).truncated
    say(store, part(2**40, "y"))
    with store.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(CommandPart)) == kept


def test_many_small_parts(store):
    row = add(store, state="uplinked")
    for number in (0, joined.MOST_PARTS - 1, joined.MOST_PARTS, joined.MOST_PARTS + 5):
        say(store, part(number, "é\x00\x1b[2J\r\n\t"))
    say(store, {1: CTI, 2: 1, 4: "OutputLimit", 5: [2**62, False]})
    text, missing = output(store, row)
    assert text.startswith("é��[2J\n\t") and len(missing) == joined.MOST_PARTS - 2
    assert get(store, row).truncated


# ---------------------------------------------------------------- what is kept


def test_old_ones_are_forgotten_with_all_that_belongs_to_them(store, monkeypatch):
    monkeypatch.setattr(retention, "KEEP_COMMANDS", 3)
    waiting = add(store, 1, state="verified")
    for counter in range(2, 9):
        row = add(store, counter, state="confirmed", outcome="done")
        say(store, part(0, "x", counter.to_bytes(8, "big")))
    assert retention.prune_rows(store) == 4
    with store.read() as session:
        left = session.scalars(sa.select(Command.id).order_by(Command.id)).all()
        assert left == [waiting, row - 2, row - 1, row], "what waits stays, however old"
        for table in (CommandPart, CommandStep):
            assert set(session.scalars(sa.select(table.command_id))) <= set(left)
        assert session.scalar(sa.select(sa.func.count()).select_from(CommandPart)) == 3


def test_commands_of_older_versions_are_taken_along_and_back(empty):
    config = AlembicConfig()
    config.set_main_option("script_location", str(engine.Path(engine.__file__).parent / "migrations"))
    database = engine._make_engine(empty, foreign_keys=False)  # as `migrate` does

    def go(where: str, back: bool = False) -> None:
        with database.execution_options(tidegate_write=True).begin() as connection:
            config.attributes["connection"] = connection
            (alembic_command.downgrade if back else alembic_command.upgrade)(config, where)

    go("0006")
    device = {"id": "gw-1", "board": "b", "product": "p", "password_hash": "x", "created_at": 1, "protocol": "mqtt"}
    states = ("pending", "sent", "done", "failed", "refused", "expired")
    with database.begin() as connection:
        tables = sa.MetaData()
        tables.reflect(connection, only=["device", "command"])
        connection.execute(tables.tables["device"].insert().values(**device, online=False, trial=False))
        for at, state in enumerate(states, 1):
            told = {
                "device_id": "gw-1",
                "cti": f"{at:016x}",
                "kid": "k",
                "opcode": "o",
                "message": b"m",
            }
            connection.execute(
                tables.tables["command"].insert().values(**told, state=state, created_at=at, expires_at=2**50)
            )
    migrate(empty)
    migrate(empty)
    store = Store(empty)
    with store.read() as session:
        rows = session.scalars(sa.select(Command).order_by(Command.id)).all()
        assert [row.state for row in rows] == ["pending", "uplinked", "confirmed", "confirmed", "refused", "expired"]
        assert [row.outcome for row in rows] == [None, None, "done", "failed", "refused", None]
        assert [[step.state for step in steps] for steps in commands.steps(session, rows).values()] == [
            [row.state] for row in rows
        ]
    with store.write() as session:
        commands.add(session, Command(device_id="gw-1", cti="7", kid="k", opcode="o", message=b"m", expires_at=1), "me")
        assert commands.cancel(session, 7, "me")
    store.close()
    go("0006", back=True)
    with database.begin() as connection:
        found = connection.execute(sa.text("SELECT state, message FROM command ORDER BY id")).all()
    assert [row[0] for row in found] == [*states, "expired"] and bytes(found[-1][1]) == b""
    migrate(empty)
    database.dispose()
