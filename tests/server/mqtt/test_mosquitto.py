"""The server with mosquitto in place of the broker inside: the worker, the password file, the two-line access list."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import signed_releases as releases
from device_commands import send, signed
from mosquitto_process import Mosquitto, connected, write_files
from mqtt_device import Device
from patience import limit
from server_process import eventually

from ota_server import first_start
from ota_server.config import Config
from ota_server.mqtt import mosquitto_files
from ota_server.store.models import Device as Row
from ota_server.store.models import now_ms

pytestmark = pytest.mark.broker


@pytest.fixture
def fleet(start, tmp_path) -> Iterator[tuple]:
    """A mosquitto made by `tidegate mosquitto`, and a server that keeps its users current."""
    folder = tmp_path / "mosquitto"
    write_files(folder, tmp_path / "data")
    broker = Mosquitto(folder)
    url = f"mqtt://tidegate_server@127.0.0.1:{broker.port}"
    server = start("--mosquitto", str(folder), env={"TIDEGATE_BROKER_URL": url})
    yield server, broker, folder
    broker.stop()


def test_the_whole_way_over_mosquitto(fleet, ring):
    server, _, _ = fleet
    assert server.mqtt.endswith(f":{server.mqtt_port}")
    device = connected(server, "gw-1", server.register("gw-1"))
    device.born("1.0.0", 1)
    shown = eventually(lambda: (d := server.shown("gw-1"))["version"] and d)
    assert shown["online"]
    release = releases.make(ring.release, "1.1.0", 2)
    assert server.publish(release).status_code == 201
    assert device.wait_heard("offer") == [release["envelopes"]["unix"]]
    message = signed(ring, "gw-1", 1)
    send(server, "gw-1", message)
    assert device.wait_heard("cmd") == [message]
    device.say("result", {1: (1).to_bytes(8, "big"), 2: 0, 3: {"ok": True}})
    eventually(lambda: server.api("GET", f"/commands/{1:016x}")["outcome"] == "done")
    device.say("tele/env", [{-2: "urn:dev:org:tidegate:gw-1:", 0: "v", 2: 3.5}], qos=0)
    eventually(lambda: server.shown("gw-1")["telemetry"].get("v"))
    device.vanish()
    eventually(lambda: server.shown("gw-1")["online"] is False)


def test_one_device_cannot_read_or_write_anothers_topics(fleet):
    server, _, folder = fleet
    assert Device("gw-1", "wrong", server.mqtt_port).refused
    one = connected(server, "gw-1", server.register("gw-1"))
    two = connected(server, "gw-2", server.register("gw-2"))
    one.online()
    two.client.publish("tg/gw-1/up/state", b"\xa1\x01\xf4", 1).wait_for_publish(5)
    two.client.publish("tg/gw-1/down/cmd", b"forged", 1).wait_for_publish(5)
    # mosquitto 2 grants a filter with wildcards and then delivers nothing that may not be read.
    two.subscribe("tg/#")
    one.say("alarm", {1: "crash", 2: "test"})
    eventually(lambda: server.shown("gw-1")["alarms"])
    assert server.shown("gw-1")["online"] and one.heard == [] and two.heard == []
    access = (folder / "access").read_text()
    assert "pattern write tg/%u/up/#" in access and "pattern read tg/%u/down/#" in access


def test_a_broker_that_goes_away_and_comes_back(fleet, ring):
    server, broker, folder = fleet
    password = server.register("gw-1")
    device = connected(server, "gw-1", password)
    device.born("1.0.0", 1)
    eventually(lambda: server.shown("gw-1")["online"])
    broker.stop()
    release = releases.make(ring.release, "1.1.0", 2)
    assert server.publish(release).status_code == 201, "publishing does not need the broker"
    assert server.http.get("/healthz").status_code == 200
    assert server.shown("gw-1")["offer"]["state"] == "waiting"
    back = Mosquitto(folder, server.mqtt_port)
    try:
        eventually(lambda: server.shown("gw-1")["offer"]["state"] == "offered", timeout_s=60)
        assert device.wait_heard("offer", timeout_s=60)[-1] == release["envelopes"]["unix"]
    finally:
        device.leave()
        back.stop()


@pytest.mark.parametrize("trouble", ["kill", "restart"])
def test_what_devices_said_while_the_server_was_away_is_filed(start, tmp_path, trouble):
    """Also if the broker, which had acknowledged all, was killed after it saved, or users changed after its restart."""
    folder = tmp_path / "mosquitto"
    write_files(folder, tmp_path / "data")
    configuration = folder / "mosquitto.conf"
    configuration.write_text(configuration.read_text().replace("autosave_interval 10\n", "autosave_interval 1\n"))
    broker = Mosquitto(folder)
    port = broker.port
    url = {"TIDEGATE_BROKER_URL": f"mqtt://tidegate_server@127.0.0.1:{port}"}
    server = start("--mosquitto", str(folder), env=url)
    password = server.register("gw-1")
    device = connected(server, "gw-1", password)
    device.born("1.0.0", 1)
    eventually(lambda: server.shown("gw-1")["online"])
    server.process.terminate()
    server.process.wait(limit(60))
    try:
        if trouble == "restart":
            device.leave()
            broker.stop()
            broker = Mosquitto(folder, port)
            mosquitto_files.Reload(folder).request()  # as a registration does while the server is not connected
            device = connected(server, "gw-1", password)
        for number in range(200):
            pack = [{-2: "urn:dev:org:tidegate:gw-1:", 0: "n", 2: number, -257: 1000 + number}]
            device.say("tele/count", pack)
        if trouble == "kill":
            said_at, saved = time.time(), folder / "mosquitto.db"
            eventually(lambda: saved.exists() and saved.stat().st_mtime > said_at + 1)
            broker.process.kill()
            broker.process.wait()
            broker = Mosquitto(folder, port)
        again = start("--mosquitto", str(folder), env=url)

        def filed() -> list[float]:
            rows = again.api("GET", "/devices/gw-1/telemetry?stream=count&after=0&limit=500")["telemetry"]
            return [row["value"] for row in rows]

        eventually(lambda: len(filed()) == 200)
        assert filed() == list(range(200))
        device.leave()
    finally:
        broker.stop()


def test_an_older_list_of_users_never_replaces_a_newer_one(tmp_path, monkeypatch):
    """One request has read the users and is slow; meanwhile another revokes one of them."""
    config, folder = Config(data=tmp_path / "data"), tmp_path / "mosquitto"
    store, own_hash, others = first_start.prepare(config), mosquitto_files._own_hash, []
    with store.write() as session:
        session.add(Row(id="gw-1", board="unix", product="p", password_hash="$7$1$a$b"))

    def revoke() -> None:
        with store.write() as session:
            session.get(Row, "gw-1").revoked_at = now_ms()
        mosquitto_files.write(folder, config, store)

    def slow(config: Config) -> str:
        if not others:
            others.append(threading.Thread(target=revoke))
            others[0].start()
            others[0].join(2)  # it may have to wait for us
        return own_hash(config)

    monkeypatch.setattr(mosquitto_files, "_own_hash", slow)
    mosquitto_files.write(folder, config, store)
    others[0].join(20)
    store.close()
    users = (folder / "passwords").read_text()
    assert mosquitto_files.SERVER_USER in users and "gw-1" not in users
