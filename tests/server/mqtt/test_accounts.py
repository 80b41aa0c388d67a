"""mosquitto's dynamic security plugin: its users follow the database, whatever was away when they changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import signed_releases as releases
from mosquitto_process import Mosquitto, connected, write_files
from mqtt_device import Device
from ports import free_port
from server_process import ServerProcess, eventually

from ota_server.mqtt import dynsec, dynsec_worker
from ota_server.mqtt.url import BrokerUrl
from ota_server.security import password_hashes

pytestmark = pytest.mark.broker


def kept(folder: Path) -> dict:
    """What the plugin has on disk; mosquitto empties the file before it writes it anew."""
    return json.loads(eventually((folder / "dynamic-security.json").read_text))


def users(folder: Path) -> set[str]:
    return {client["username"] for client in kept(folder)["clients"]}


def refused(server: ServerProcess, device_id: str, password: str) -> bool:
    device = Device(device_id, password, server.mqtt_port)
    device.leave()
    return device.refused is not None


class Fleet:
    """A mosquitto with the plugin, and servers that command it."""

    def __init__(self, start, folder: Path):
        self._start = start
        self.folder = folder
        self.port = free_port()  # servers know it before there is a broker
        self.brokers: list[Mosquitto] = []

    def broker(self) -> Mosquitto:
        self.brokers.append(Mosquitto(self.folder, self.port))
        return self.brokers[-1]

    def server(self, *options: str) -> ServerProcess:
        url = f"mqtt://tidegate_server@127.0.0.1:{self.port}"
        return self._start("--dynamic", "--mosquitto", str(self.folder), *options, env={"TIDEGATE_BROKER_URL": url})


@pytest.fixture
def fleet(start, tmp_path) -> Iterator[Fleet]:
    write_files(tmp_path / "mosquitto", tmp_path / "data", "--dynamic")
    made = Fleet(start, tmp_path / "mosquitto")
    yield made
    for broker in made.brokers:
        broker.stop()


def test_registered_and_offered_given_new_credentials_and_revoked(fleet, ring):
    broker, server = fleet.broker(), fleet.server()
    password = server.register("gw-1")
    device = connected(server, "gw-1", password)
    device.born("1.0.0", 1)
    eventually(lambda: server.shown("gw-1")["online"])
    release = releases.make(ring.release, "1.1.0", 2)
    assert server.publish(release).status_code == 201
    assert device.wait_heard("offer") == [release["envelopes"]["unix"]]

    bystander = connected(server, "gw-2", server.register("gw-2"))
    changed = server.api("POST", "/devices/gw-1/credentials")["mqtt"]["password"]
    eventually(lambda: not device.client.is_connected() or device.refused)
    device.leave()
    eventually(lambda: refused(server, "gw-1", password))
    again = connected(server, "gw-1", changed)

    server.api("POST", "/devices/gw-1/revoke")
    eventually(lambda: not again.client.is_connected() or again.refused)
    again.leave()
    eventually(lambda: refused(server, "gw-1", changed))
    eventually(lambda: users(fleet.folder) == {"tidegate_server", "gw-2"})
    assert {role["rolename"] for role in kept(fleet.folder)["roles"]} == {"tidegate-server", "tidegate-device-gw-2"}
    assert bystander.client.is_connected()
    bystander.online()

    broker.log.flush()
    told = (fleet.folder / "log").read_text() + server.log.read_text() + json.dumps(server.api("GET", "/audit"))
    for secret in (password, changed, (server.data / "broker.password").read_text().strip()):
        assert secret not in told


def test_changes_while_broker_and_server_are_away(fleet):
    """The database decides: each change arrives once both are there, also after a restart of the server between."""
    broker, server = fleet.broker(), fleet.server()
    first = server.register("gw-1")
    connected(server, "gw-1", first).leave()
    server.register("gw-2")
    eventually(lambda: "gw-2" in users(fleet.folder))
    broker.stop()
    late = server.register("gw-3")
    changed = server.api("POST", "/devices/gw-1/credentials")["mqtt"]["password"]
    server.api("POST", "/devices/gw-2/revoke")
    assert server.stop() == 0
    fleet.broker()
    assert users(fleet.folder) == {"tidegate_server", "gw-1", "gw-2"}
    server = fleet.server()
    connected(server, "gw-3", late)
    connected(server, "gw-1", changed)
    assert refused(server, "gw-1", first)
    eventually(lambda: users(fleet.folder) == {"tidegate_server", "gw-1", "gw-3"})


def test_the_plugins_file_is_lost(fleet):
    """mosquitto starts without it and lets nobody in, not even the server, which writes it again."""
    broker, server = fleet.broker(), fleet.server()
    password = server.register("gw-1")
    connected(server, "gw-1", password).leave()
    broker.stop()
    (fleet.folder / "dynamic-security.json").unlink()
    broker = fleet.broker()
    assert refused(server, "gw-1", password)
    eventually(lambda: "refuses this server" in server.log.read_text())
    late = server.register("gw-2")  # writes the file
    broker.stop()
    fleet.broker()
    connected(server, "gw-1", password)
    connected(server, "gw-2", late)


def test_what_is_changed_by_hand_is_put_right(fleet):
    """Rights added, a default opened, an account of no device; what is not ours is let be."""
    server = fleet.server()
    fleet.broker()
    password = server.register("gw-1")
    connected(server, "gw-1", password).leave()
    assert server.stop() == 0
    fleet.brokers[-1].stop()
    wrong = kept(fleet.folder)
    role = next(role for role in wrong["roles"] if role["rolename"] == "tidegate-device-gw-1")
    role["acls"].append({"acltype": "publishClientSend", "topic": "#", "priority": 9, "allow": True})
    wrong["defaultACLAccess"]["publishClientReceive"] = True
    device = next(client for client in wrong["clients"] if client["username"] == "gw-1")
    wrong["clients"].append({**device, "username": "gone"})
    wrong["clients"].append({**device, "username": "dashboard", "textname": "made by hand"})
    device["disabled"] = True
    (fleet.folder / "dynamic-security.json").write_text(json.dumps(wrong))
    fleet.broker()
    server = fleet.server()
    connected(server, "gw-1", password)
    eventually(lambda: users(fleet.folder) == {"tidegate_server", "gw-1", "dashboard"})
    now = kept(fleet.folder)
    assert now["defaultACLAccess"] == dynsec.DEFAULTS
    role = next(role for role in now["roles"] if role["rolename"] == "tidegate-device-gw-1")
    assert {(right["acltype"], right["topic"]) for right in role["acls"]} == {
        ("publishClientSend", "tg/gw-1/up/#"),
        ("publishClientReceive", "tg/gw-1/down/#"),
        ("subscribePattern", "tg/gw-1/down/#"),
    }


def test_a_password_known_only_as_a_hash(start, tmp_path):
    """Devices of before have one. The plugin's file takes the hash; a command would need the password."""
    server = start()
    old = password_hashes.generate()
    server.register("gw-1")
    assert server.stop() == 0
    database = sqlite3.connect(server.data / "tidegate.db")
    with database:
        database.execute("UPDATE device SET password_hash = ?", (password_hashes.hashed(old),))
    database.close()
    write_files(tmp_path / "mosquitto", server.data, "--dynamic")
    fleet = Fleet(start, tmp_path / "mosquitto")
    broker = fleet.broker()
    try:
        server = fleet.server()
        connected(server, "gw-1", old).leave()
        assert server.stop() == 0
        broker.stop()
        without = kept(fleet.folder)
        without["clients"] = [client for client in without["clients"] if client["username"] != "gw-1"]
        (fleet.folder / "dynamic-security.json").write_text(json.dumps(without))
        fleet.broker()
        server = fleet.server()
        eventually(lambda: [a["reason"] for a in server.shown("gw-1")["alarms"]] == ["password-unknown"])
        new = server.api("POST", "/devices/gw-1/credentials")["mqtt"]["password"]
        connected(server, "gw-1", new)
    finally:
        for each in fleet.brokers:
            each.stop()


def test_a_broker_without_the_plugin_is_named(start, tmp_path):
    folder = tmp_path / "mosquitto"
    write_files(folder, tmp_path / "data")
    broker = Mosquitto(folder)
    try:
        server = start("--dynamic", env={"TIDEGATE_BROKER_URL": f"mqtt://tidegate_server@127.0.0.1:{broker.port}"})
        eventually(lambda: "have the plugin" in server.log.read_text() or "does not let" in server.log.read_text())
    finally:
        broker.stop()


def test_the_files_are_written_once(tmp_path):
    folder = tmp_path / "mosquitto"
    assert "wrote" in write_files(folder, tmp_path / "data", "--dynamic")
    (folder / "dynamic-security.json").write_text("mine")
    assert "delete it first" in write_files(folder, tmp_path / "data", "--dynamic")
    assert (folder / "dynamic-security.json").read_text() == "mine"
    assert "allow_anonymous false" in (folder / "mosquitto.conf").read_text()


def test_what_was_not_read_is_read_again_on_a_machine_that_has_just_started(monkeypatch):
    monkeypatch.setattr(dynsec_worker, "time", SimpleNamespace(monotonic=lambda: 5.0))
    monkeypatch.setattr(dynsec_worker, "RETRY_S", 0)
    looked, had = [], []
    there = dynsec.Present({"gw-1": {}}, {}, {})
    made = dynsec_worker.Accounts(None, None, BrokerUrl("mqtt://s@127.0.0.1"), "c")

    def read() -> dynsec.Present:
        looked.append(1)
        if len(looked) == 1:
            raise dynsec_worker.NoAnswer("too busy")
        return there

    def put_right(present: dynsec.Present) -> bool:
        had.append(present)
        made._stopping.set()
        return False

    monkeypatch.setattr(made, "_read", read)
    monkeypatch.setattr(made, "_correct", put_right)
    monkeypatch.setattr(made, "_newest_act", lambda: 1)
    made._connection = 1
    made._ready.set()
    made._run()
    assert had == [there], "not what it believed before it could ask"
