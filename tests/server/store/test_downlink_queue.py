"""What the broker does not have yet, of many devices and for several workers, on both databases."""

from __future__ import annotations

import threading

import large_database
import pytest
import sqlalchemy as sa
from at_once import together
from large_database import device_id

from ota_server.commands.policy import CommandPolicy
from ota_server.config import Config
from ota_server.mqtt.downlink import Downlink
from ota_server.mqtt.publisher import FLIGHT, Outgoing
from ota_server.store import Store, commands, downlink_queue, now_ms
from ota_server.store.models import Command, CommandStep, Device, DeviceData, Release, Target, TrustUpdate

DEVICES = 1_200  # more than two flights
OFFERS = downlink_queue.RETAINED[3]


@pytest.fixture
def fleet(empty) -> Store:
    store = large_database.fill(empty, DEVICES, 0, online=True, trust_version=1)
    with store.write() as session:
        release = Release(product="tidegate-gateway", vendor="v", version="1.1.0", sequence=2)
        session.add(release)
        session.flush()
        facts = {"manifest_digest": "0" * 64, "image_digest": "1" * 64, "image_size": 1, "patches": []}
        target = Target(release_id=release.id, board="unix", envelope=b"envelope", **facts)
        session.add(target)
        session.flush()
        session.execute(sa.update(Device).values(offer_id=target.id))
    yield store
    store.close()


class Broker:
    """Takes what a worker publishes, but not what goes to `refused`; counts messages by topic."""

    def __init__(self) -> None:
        self.heard: dict[str, list[bytes]] = {}
        self.flights: list[int] = []
        self.refused: set[str] = set()
        self._lock = threading.Lock()

    def publish(self, messages: list[Outgoing]) -> list[bool]:
        with self._lock:
            self.flights.append(len(messages))
            for message in messages:
                if message.topic not in self.refused:
                    self.heard.setdefault(message.topic, []).append(message.payload)
            return [message.topic not in self.refused for message in messages]


def worker(store: Store, broker: Broker, tmp_path) -> Downlink:
    return Downlink(store, threading.Event(), broker.publish, lambda: True, CommandPolicy(Config(tmp_path)))


def unsent(store: Store) -> int:
    with store.read() as session:
        assert downlink_queue.is_anything_unsent(session) == bool(
            count := session.scalar(
                sa.select(sa.func.count()).where(Device.offer_id.is_distinct_from(Device.offer_sent_id))
            )
        )
        return count


def test_offers_go_out_in_flights_and_a_refused_one_holds_up_none(fleet, tmp_path):
    broker = Broker()
    broker.refused = {f"tg/{device_id(number)}/down/offer" for number in range(700)}
    transactions = []
    sa.event.listen(fleet.engine, "commit", lambda connection: transactions.append(connection))
    worker(fleet, broker, tmp_path)._round()
    assert broker.flights == [FLIGHT, FLIGHT, DEVICES - 2 * FLIGHT]
    assert len(broker.heard) == DEVICES - 700 == DEVICES - unsent(fleet)
    assert len(transactions) < 20, "one for the whole flight"
    broker.refused = set()
    with fleet.write() as session:  # as if the leases of this worker had run out
        session.execute(sa.update(Device).values(claimed_until=None))
    worker(fleet, broker, tmp_path)._round()
    assert unsent(fleet) == 0 and all(heard == [b"envelope"] for heard in broker.heard.values())


def test_withdrawn_offers_data_and_trust_go_out_too(fleet, tmp_path):
    broker = Broker()
    one, two = device_id(1), device_id(2)
    with fleet.write() as session:
        target = session.scalar(sa.select(Target.id))
        session.execute(sa.update(Device).values(offer_sent_id=target))
        session.execute(sa.update(Device).where(Device.id == one).values(offer_id=None))
        session.add(TrustUpdate(version=2, document=b"document", store=b"store"))
        session.add(DeviceData(device_id=two, name="model"))
    worker(fleet, broker, tmp_path)._round()
    assert broker.heard.pop(f"tg/{one}/down/offer") == [b""] and len(broker.heard) == DEVICES
    assert {tuple(heard) for heard in broker.heard.values()} == {(b"document",)}
    with fleet.read() as session:
        assert not downlink_queue.is_anything_unsent(session)
        assert not session.scalar(sa.select(sa.func.count()).where(Device.claimed_until.is_not(None)))


@pytest.mark.parametrize("empty", ["postgresql"], indirect=True)
def test_several_workers_share_the_offers(fleet, tmp_path):
    broker = Broker()
    together(4, lambda _number: worker(fleet, broker, tmp_path)._round())
    assert unsent(fleet) == 0
    assert all(heard == [b"envelope"] for heard in broker.heard.values()) and len(broker.heard) == DEVICES


def test_several_workers_send_each_command_once(fleet, tmp_path):
    with fleet.write() as session:
        for number in range(300):
            row = Command(device_id=device_id(number // 2), cti=f"{number:016x}", kid="00", opcode="ping")
            row.message, row.state, row.expires_at = f"{number}".encode(), "verified", now_ms() + 600_000
            commands.add(session, row, "test")

    broker, policy = Broker(), CommandPolicy(Config(tmp_path))
    policy.check_stored = lambda _session, _row: "command"  # what is signed how is another test's

    def work(_number: int) -> None:
        Downlink(fleet, threading.Event(), broker.publish, lambda: True, policy)._send_commands()

    workers = 1 if fleet.engine.dialect.name == "sqlite" else 4
    together(workers, work)
    work(0)
    sent = [int(payload) for heard in broker.heard.values() for payload in heard]
    assert sorted(sent) == list(range(300))
    assert all(heard == sorted(heard, key=int) for heard in broker.heard.values()), "counters rise"
    with fleet.read() as session:
        assert session.scalars(sa.select(Command.state).distinct()).all() == ["uplinked"]
        steps = sa.select(sa.func.count()).where(
            CommandStep.state == "uplinked", CommandStep.why == "taken by the broker"
        )
        assert session.scalar(steps) == 300


@pytest.mark.parametrize("empty", ["sqlite"], indirect=True)
def test_what_is_looked_for_all_the_time_reads_indexes_alone(fleet):
    with fleet.write() as session:
        session.execute(sa.update(Device).values(offer_sent_id=Device.offer_id))
    asked: list[str] = []
    sa.event.listen(fleet.engine, "before_cursor_execute", lambda _c, _u, text, args, *_: asked.append((text, args)))
    with fleet.read() as session:
        downlink_queue.is_anything_unsent(session)
        commands.pending(session, 10)
        commands.over(session)
        for queue in downlink_queue.RETAINED:
            queue.unsent(session, 10, ("", ""))
    with fleet.engine.connect() as connection:
        for text, args in list(asked):
            if text.lstrip().startswith("SELECT"):
                plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", args)]
                scans = [line for line in plan if line.startswith("SCAN") and "INDEX" not in line]
                assert not [line for line in scans if line.split()[1] in ("device", "device_data", "command")], (
                    text,
                    plan,
                )
