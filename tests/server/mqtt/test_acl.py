"""What docs/brokers.md promises of access, tried on each broker that a server can have: the one inside, mosquitto with
its files, mosquitto with its dynamic security plugin. Refused or swallowed is the broker's choice; that nothing gets
through is what counts.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import signed_releases as releases
from device_commands import send, signed
from mosquitto_process import Mosquitto, connected, write_files
from mqtt_device import Device
from paho_client import Client
from patience import limit
from server_process import KeyRing, ServerProcess, eventually

from ota_server.mqtt.dynsec import CONTROL
from tidegate.wire.cbor import dumps

WAYS = ["inside", "files", "dynamic"]
ONLINE, OFFLINE = dumps({1: True}), dumps({1: False})
_counter = itertools.count(1)


class Place(NamedTuple):
    way: str
    server: ServerProcess
    ring: KeyRing

    def devices(self) -> tuple[Device, Device]:
        """Two devices of this test's own, connected."""
        number = next(_counter)
        names = [f"{name}-{number}" for name in ("mine", "other")]
        mine, other = (connected(self.server, name, self.server.register(name)) for name in names)
        return mine, other

    def password_of(self, device: Device) -> str:
        return device.client.password

    def command(self, device: Device) -> bytes:
        """Sent by the server and heard by the device: whatever came before it has been heard too."""
        device.online()
        message = signed(self.ring, device.id, next(_counter))
        send(self.server, device.id, message)
        eventually(lambda: message in [payload for _, payload, _ in device.heard])
        return message


@pytest.fixture(scope="module", params=WAYS)
def place(request, tmp_path_factory, ring) -> Iterator[Place]:
    way, folder = request.param, tmp_path_factory.mktemp(request.param)
    options, env, broker = ["--trust", str(ring.trust)], {}, None
    if way != "inside":
        dynamic = ["--dynamic"] if way == "dynamic" else []
        write_files(folder / "mosquitto", folder / "data", *dynamic)
        broker = Mosquitto(folder / "mosquitto")
        options += ["--mosquitto", str(folder / "mosquitto"), *dynamic]
        env = {"TIDEGATE_BROKER_URL": f"mqtt://tidegate_server@127.0.0.1:{broker.port}"}
    server = ServerProcess(folder / "data", *options, env=env)
    yield Place(way, server, ring)
    if server.process.poll() is None:
        server.stop()
    if broker is not None:
        broker.stop()


def test_a_device_writes_to_nobody_elses_topics(place):
    mine, other = place.devices()
    mine.born("1.0.0", 1)
    eventually(lambda: place.server.shown(mine.id)["online"])
    create = {"command": "createClient", "username": "intruder", "password": "x"}
    for topic, payload in (
        (f"tg/{mine.id}/up/state", OFFLINE),
        (f"tg/{mine.id}/up/birth", b""),
        (f"tg/{mine.id}/up/alarm", dumps({1: "crash", 2: "forged"})),
        (f"tg/{mine.id}/down/cmd", b"forged"),
        (f"tg/{mine.id}/down/offer", b"forged"),
        (f"tg/{other.id}/down/cmd", b"forged"),
        (f"tg/{other.id}/up", b"forged"),
        ("tg/tidegate_server/up/state", ONLINE),
        ("$SYS/broker/version", b"forged"),
        (CONTROL, json.dumps({"commands": [create]}).encode()),
        ("anything", b"forged"),
    ):
        for retain in (False, True):
            # At a topic that begins with $ some brokers end the connection; the client comes back by itself.
            eventually(other.client.is_connected)
            with contextlib.suppress(RuntimeError):  # not connected: it has just been thrown out for the last one
                qos = 0 if topic.startswith("$") else 1  # else it would be sent again after each connection
                other.client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(5)
    eventually(other.client.is_connected)
    other.say("alarm", {1: "crash", 2: "own"})
    eventually(lambda: [a["reason"] for a in place.server.shown(other.id)["alarms"]] == ["own"])
    shown = place.server.shown(mine.id)
    messages = {place.command(mine), place.command(other)}
    assert {payload for _, payload, _ in mine.heard + other.heard} == messages
    assert shown["online"] and shown["version"] == "1.0.0" and shown["alarms"] == []
    again = connected(place.server, mine.id, place.password_of(mine))
    place.command(again)
    assert not any(retained for _, _, retained in again.heard), "nothing forged was retained"
    assert Client(place.server.mqtt_port, "intruder", "x").code


def test_a_device_reads_nobody_elses_topics(place):
    mine, other = place.devices()
    mine.born("1.0.0", 1)
    release = releases.make(place.ring.release, f"1.{next(_counter)}.0", 1000 + next(_counter))
    assert place.server.publish(release).status_code == 201
    offer = release["envelopes"]["unix"]
    assert mine.wait_heard("offer")[-1] == offer, "a retained message is there"
    for pattern in (
        f"tg/{mine.id}/down/offer",
        f"tg/{mine.id}/down/#",
        f"tg/{mine.id}/up/#",
        f"$share/group/tg/{mine.id}/down/#",
        "tg/+/down/offer",
        "tg/+/down/#",
        "tg/+/up/#",
        "tg/#",
        "#",
        "+/+/+/+",
        "$SYS/#",
        "$SYS/broker/version",
        "$CONTROL/#",
        f"{CONTROL}/response",
    ):
        other.subscribe(pattern)
    before = len(mine.heard)
    mine.say("tele/env", [{-2: "urn:dev:org:tidegate:x:", 0: "v", 2: 3.5}])
    theirs, own = place.command(mine), place.command(other)
    assert [payload for _, payload, _ in mine.heard[before:]] == [theirs]
    assert {topic for topic, _, _ in other.heard} <= {f"tg/{other.id}/down/cmd", f"tg/{other.id}/down/offer"}
    assert own in [payload for _, payload, _ in other.heard] and theirs not in [p for _, p, _ in other.heard]


@pytest.mark.parametrize("kind", ["up/state", "down/cmd"])
def test_a_last_will_reaches_nobody_elses_topics(place, kind):
    mine, other = place.devices()
    mine.born("1.0.0", 1)
    eventually(lambda: place.server.shown(mine.id)["online"])
    password = place.password_of(other)
    other.leave()
    bad = Client(place.server.mqtt_port, other.id, password, will=(f"tg/{mine.id}/{kind}", OFFLINE, 1, True))
    if bad.code == 0:  # taken; then it must go nowhere when the connection is lost
        bad.client.loop_stop()
        bad.client.socket().close()
    again = connected(place.server, other.id, password)
    again.born("1.0.0", 1)
    again.vanish()  # its own will does go out
    eventually(lambda: place.server.shown(other.id)["online"] is False)
    assert place.server.shown(mine.id)["online"]
    message = place.command(mine)
    assert [payload for topic, payload, _ in mine.heard if topic.endswith("cmd")] == [message]


def test_a_device_does_not_take_over_anothers_connection(place):
    mine, other = place.devices()
    password = place.password_of(other)
    other.leave()
    for clean in (True, False):
        thief = Client(place.server.mqtt_port, other.id, password, client_id=mine.id, clean=clean)
        thief.client.subscribe(f"tg/{mine.id}/down/#", 1)
        place.command(mine)
        thief.client.disconnect()
        thief.client.loop_stop()
        assert thief.heard == []
    assert mine.client.is_connected()
    assert [topic for topic, _, _ in mine.heard].count(f"tg/{mine.id}/down/cmd") == 2


def test_nobody_comes_in_without_a_password_of_their_own(place):
    mine, other = place.devices()
    port = place.server.mqtt_port
    for user, password in (
        (mine.id, place.password_of(other)),
        (mine.id, ""),
        ("tidegate_server", place.password_of(mine)),
        ("tidegate_server", ""),
        ("nobody", place.password_of(mine)),
        ("admin", "admin"),
        ("+", place.password_of(mine)),
    ):
        assert Client(port, user, password, client_id=f"c{next(_counter)}").code, user
    with socket.create_connection(("127.0.0.1", port), timeout=limit(10)) as sock:
        sock.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")  # CONNECT without user and password
        assert sock.recv(4)[3:] not in (b"", b"\0")


def test_the_end_of_a_devices_rights_ends_its_connection(place):
    mine, other = place.devices()
    mine.online()
    place.server.api("POST", f"/devices/{mine.id}/revoke")
    eventually(lambda: not mine.client.is_connected() or mine.refused)
    mine.leave()
    assert Client(place.server.mqtt_port, mine.id, place.password_of(mine)).code
    old = place.password_of(other)
    new = place.server.api("POST", f"/devices/{other.id}/credentials")["mqtt"]["password"]
    eventually(lambda: not other.client.is_connected() or other.refused)
    other.leave()
    connected(place.server, other.id, new)
    assert Client(place.server.mqtt_port, other.id, old, client_id=other.id).code


def test_the_servers_user_can_do_what_it_needs_and_no_more(place):
    """The last of this file: with mosquitto's files a client's id is its user name, so the server must leave first."""
    mine, other = place.devices()
    mine.online()
    eventually(lambda: place.server.shown(mine.id)["online"])
    if place.way != "inside":
        place.server.process.terminate()
        place.server.process.wait(limit(60))
    password = (place.server.data / "broker.password").read_text().strip()
    own = Client(place.server.mqtt_port, "tidegate_server", password, client_id="spare")
    assert own.code == 0
    for pattern in ("#", "tg/+/down/#", "$SYS/#", "$CONTROL/#"):
        own.subscribe(pattern)
    own.client.publish(f"tg/{mine.id}/down/cmd", b"needed", 1).wait_for_publish(10)
    own.client.publish(f"tg/{mine.id}/down/offer", b"needed", 1, retain=True).wait_for_publish(10)
    eventually(lambda: [payload for _, payload, _ in mine.heard if payload == b"needed"] == [b"needed"] * 2)
    assert own.subscribe("tg/+/up/#") == [1]
    other.online()
    eventually(lambda: (f"tg/{other.id}/up/state", ONLINE) in [message[:2] for message in own.heard])
    assert (f"tg/{mine.id}/up/state", ONLINE) in [message[:2] for message in own.heard], "what was retained"
    own.client.publish(f"tg/{mine.id}/up/state", OFFLINE, 1, retain=True).wait_for_publish(10)
    own.client.publish("elsewhere", b"x", 1).wait_for_publish(10)
    mine.say("tele/last", [{-2: "urn:dev:org:tidegate:x:", 0: "v", 2: 1}])
    eventually(lambda: any(topic.endswith("tele/last") for topic, *_ in own.heard))
    assert {topic.split("/")[2] for topic, *_ in own.heard} == {"up"}
    assert OFFLINE not in [payload for topic, payload, *_ in own.heard if topic == f"tg/{mine.id}/up/state"]
    own.client.disconnect()
    own.client.loop_stop()
