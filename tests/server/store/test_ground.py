"""Trouble of the ground: odd folders, databases locked, newer, damaged or read-only. One line, with a remedy."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from server_process import eventually
from sqlalchemy import URL, text
from sqlalchemy.exc import SQLAlchemyError

from ota_server.config import Config
from ota_server.errors import StorageFull, Unavailable, of_storage
from ota_server.first_start import prepare
from ota_server.mqtt import filing
from ota_server.mqtt.filing import Filer, Waiting
from ota_server.store import Store, alarms, migrate, telemetry
from ota_server.store.models import Device
from ota_server.uplink import ingest
from tidegate.errors import TidegateError
from tidegate.wire.cbor import dumps

ODD = [
    "with blanks",
    "it's",
    'a "quoted" one',
    "100%",
    "%41%2f",
    "what?x=1",
    "a#b",
    "a:b@c",
    "ü日本",
    os.fsdecode(b"not-\xff-utf8"),
    "new\nline",
    "$HOME;`x`",
]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_a_data_folder_may_have_any_name(tmp_path, name):
    config = Config(tmp_path / name)
    prepare(config).close()
    store = prepare(config)
    with store.write() as session:
        alarms.raise_server_alarm(session, None, "k", "r", "d")
    store.close()
    assert (tmp_path / name / "tidegate.db").stat().st_size > 10_000
    assert [found.name for found in tmp_path.iterdir()] == [name], "and nothing beside it"


def test_a_server_runs_in_a_folder_with_an_odd_name(start, tmp_path):
    server = start(data=tmp_path / os.fsdecode(b"it's 100% ?#\xff"))
    server.register("gate-1")
    assert server.shown("gate-1")["id"] == "gate-1"


def test_a_database_of_a_newer_version(tmp_path):
    config = Config(tmp_path)
    store = prepare(config)
    with store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'from-the-future'"))
    store.close()
    with pytest.raises(TidegateError) as error:
        prepare(config)
    assert "newer" in error.value.message and "\n" not in error.value.message and "Install" in error.value.remedy


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database(tmp_path, content):
    (tmp_path / "tidegate.db").write_bytes(content)
    with pytest.raises(TidegateError) as error:
        prepare(Config(tmp_path))
    assert "backup" in error.value.remedy


def test_what_errors_of_the_ground_mean(tmp_path):
    migrate(f"sqlite:///{tmp_path}/x.db")
    read_only = Store(URL.create("sqlite", database=f"file:{tmp_path}/x.db", query={"mode": "ro", "uri": "true"}))
    with pytest.raises(SQLAlchemyError) as error, read_only.write() as session:
        alarms.raise_server_alarm(session, None, "k", "r", "d")
    assert of_storage(error.value).kind == "database-read-only"
    store = Store(f"sqlite:///{tmp_path}/x.db")
    for statement, kind in (
        ("SELECT * FROM nowhere", "database-changed"),
        ("SELECT missing FROM alarm", "database-changed"),
    ):
        with pytest.raises(SQLAlchemyError) as error, store.read() as session:
            session.execute(text(statement))
        assert of_storage(error.value).kind == kind
    with pytest.raises(SQLAlchemyError) as error, store.read() as session:
        session.execute(text("SELEKT 1"))
    assert of_storage(error.value) is None, "a mistake of ours stays one"
    with pytest.raises(SQLAlchemyError) as error, store.write() as session:
        session.add(Device(id="x", board="b", product="p", password_hash=None))
        session.flush()
    assert of_storage(error.value) is None, "a mistake of ours stays one"
    assert isinstance(of_storage(OSError(28, "no space")), StorageFull)
    assert isinstance(of_storage(PermissionError(13, "no")), Unavailable)
    assert of_storage(ValueError("locked")) is None and of_storage(FileNotFoundError(2, "x")) is None


def test_while_the_database_is_locked_nothing_is_lost_and_nobody_gets_500(start):
    server = start()
    device = server.device("gate-1")
    device.say("alarm", {1: "crash", 2: "before"})
    eventually(lambda: server.shown("gate-1")["alarms"])
    held = sqlite3.connect(server.data / "tidegate.db", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    sent = device.client.publish("tg/gate-1/up/alarm", dumps({1: "crash", 2: "meanwhile"}), 1)
    body = {"id": "gate-2", "board": "unix", "product": "p"}
    answer = server.http.post("/api/v1/devices", json=body)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert answer.json()["type"].endswith("database-busy") and "again" in answer.json()["remedy"]
    assert server.http.get("/api/v1/devices/gate-1").status_code == 200, "reading goes on"
    assert not sent.is_published(), "the device still has it, because the database has not"
    held.execute("ROLLBACK")
    held.close()
    eventually(sent.is_published)
    eventually(lambda: [a["reason"] for a in server.shown("gate-1")["alarms"]] == ["meanwhile", "before"])
    assert server.http.post("/api/v1/devices", json=body).status_code == 201
    assert server.api("GET", "/alarms")["counters"].get("messages the database did not take") is None
    assert "Traceback" not in server.log.read_text()


class Filed:
    """A filer on a database of its own, and what it acknowledged."""

    def __init__(self, folder: Path):
        url = f"sqlite:///{folder}/x.db"
        migrate(url)
        self.store = Store(url)
        with self.store.write() as session:
            session.add(Device(id="gate-1", board="unix", product="p", password_hash="x"))
        self.acknowledged: list[int] = []
        self.filer = Filer(self.store, lambda _messages: None)

    def put(self, number: int, qos: int = 1) -> None:
        message = ingest.Message("tg/gate-1/up/alarm", dumps({1: "test", 2: f"n-{number}"}), False)
        self.filer.put(Waiting(message, (lambda: self.acknowledged.append(number)) if qos else None))

    def alarms(self) -> list[str]:
        with self.store.read() as session:
            return [row.reason for row in alarms.listed(session, 500)][::-1]


def test_what_is_filed_is_acknowledged_after_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(filing, "MAX_BATCH", 2)
    filed, allowed, seen = Filed(tmp_path), threading.Event(), []
    take_all = ingest.take_all

    def slow(store, messages):
        allowed.wait(30)
        seen.append((len(messages), list(filed.acknowledged)))
        return take_all(store, messages)

    monkeypatch.setattr(filing.ingest, "take_all", slow)
    for number in range(5):
        filed.put(number)
    filed.filer.start()
    time.sleep(0.2)
    assert filed.acknowledged == []
    allowed.set()
    filed.filer.stop()
    assert filed.acknowledged == [0, 1, 2, 3, 4] and seen == [(2, []), (2, [0, 1]), (1, [0, 1, 2, 3])]
    assert filed.alarms() == [f"n-{number}" for number in range(5)]


def test_a_backlog_of_one_stream_that_comes_again_after_a_kill_is_filed_once(tmp_path):
    """The broker sends again what it got no acknowledgement for: two batches at most, whatever was waiting."""
    filed, batches = Filed(tmp_path), []
    packs = [dumps([{-2: "urn:dev:org:tidegate:gate-1:", -257: number, 0: "n", 2: number}]) for number in range(200)]
    messages = [ingest.Message("tg/gate-1/up/tele/env", pack, False) for pack in packs]
    for given in (messages, ()):
        filer = Filer(filed.store, lambda _messages: None, batches.append)
        again = [one.message for batch in batches[-2:] for one in batch]
        filer.put_all([Waiting(message, lambda: None) for message in given or again])
        filer.start()
        filer.stop()
    assert [one.message.payload for batch in batches for one in batch][:200] == packs and len(again) > 1
    with filed.store.read() as session:
        rows = telemetry.history(session, "gate-1", telemetry.Query(name="n"), 1000)
    assert [point.number for point, _ in rows[::-1]] == list(range(200))


def test_a_message_that_can_never_be_filed_is_set_aside_alone(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(filing, "POISON_PAUSE_S", 0.01)
    filed, take_all = Filed(tmp_path), ingest.take_all

    def picky(store, messages):
        if any(b"n-11" in message.payload for message in messages):
            raise ValueError("poison")
        return take_all(store, messages)

    monkeypatch.setattr(filing.ingest, "take_all", picky)
    for number in range(30):
        filed.put(number)
    filed.filer.start()
    eventually(lambda: filed.acknowledged == list(range(30)))
    filed.filer.stop()
    assert filed.alarms() == [f"n-{n}" for n in range(11)] + ["not-filed"] + [f"n-{n}" for n in range(12, 30)]
    with filed.store.read() as session:
        assert alarms.counters(session) == {"messages the database did not take": 1}


def test_a_stop_in_trouble_acknowledges_nothing(tmp_path, monkeypatch):
    filed = Filed(tmp_path)

    def locked(store, messages):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(filing.ingest, "take_all", locked)
    filed.filer.start()
    filed.put(1)
    time.sleep(0.3)
    began = time.monotonic()
    filed.filer.stop()
    assert filed.acknowledged == [] and time.monotonic() - began < 9


def test_after_an_outage_all_that_waited_is_filed_and_the_log_says_it_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(filing, "AGAIN_S", (0.01,))
    filed, take_all, tries = Filed(tmp_path), ingest.take_all, []

    def full(store, messages):
        tries.append(len(messages))
        if len(tries) < 20:
            raise OSError(28, "no space left on device")
        return take_all(store, messages)

    monkeypatch.setattr(filing.ingest, "take_all", full)
    filed.filer.start()
    for number in range(10):
        filed.put(number)
    eventually(lambda: filed.acknowledged == list(range(10)))
    filed.filer.stop()
    assert filed.alarms() == [f"n-{number}" for number in range(10)]
    with filed.store.read() as session:
        assert alarms.counters(session) == {"times the database took no messages": 1}
    assert len(caplog.records) == 2, [record.getMessage() for record in caplog.records]


def test_of_qos_0_a_bounded_number_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(filing, "MAX_WAITING", 3)
    monkeypatch.setattr(filing, "ROOM_TIMEOUT_S", 0.05)
    filed = Filed(tmp_path)
    for number in range(6):  # nothing is filed yet
        filed.put(number, qos=0)
    filed.put(6)
    filed.filer.start()
    filed.filer.stop()
    assert filed.alarms() == ["n-0", "n-1", "n-2", "n-6"] and filed.acknowledged == [6]
