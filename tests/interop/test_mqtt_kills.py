"""QoS 1 against brokers that are killed again and again while messages are on their way.

With TIDEGATE_FULL=1 it is 50 kills in 10,000 messages; by default it is less.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator

import mqtt_brokers
import paho.mqtt.client as paho
import pytest

FULL = bool(os.environ.get("TIDEGATE_FULL"))
KILLS, COUNT = (50, 10_000) if FULL else (10, 2_000)
UNDER_WAY = 16  # messages, ours and the broker's, that nobody has confirmed: so many may come again at each kill
TIMEOUT_S = 300 if FULL else 120
NAMES = ("next", "missing", "late", "again", "furthest", "sessions", "kept", "early", "end")


@pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
def test_mosquitto(version: int) -> None:
    with mqtt_brokers.running(mqtt_brokers.Mosquitto) as broker:
        found = stream(broker, version)
    assert found["late"] == 0, "out of order"
    assert found["again"] <= UNDER_WAY * KILLS
    assert found["furthest"] <= UNDER_WAY


def test_nats() -> None:
    """NATS 2.9 forgets, when it is killed, which messages it had delivered and, in an empty store, how many there were:
    what it sends after a restart may come twice or behind a later one. So it is judged by another session of somebody
    else's client, which was away all the time and for which it kept the messages: all of them, in order.
    """
    with mqtt_brokers.running(mqtt_brokers.Nats) as broker:
        with watcher(broker) as (client, got):
            wait(lambda: got.pop("granted", None), "the subscription")
        found = stream(broker, 4)
        with watcher(broker) as (client, got):
            wait(lambda: len(got) > COUNT, f"all messages, {len(got)}", 20)
            seen = [int(name) for name in got if name != "granted"]
    print(f"the other session: {len(seen)} messages, {sum(got.values()) - len(seen)} of them again")
    assert seen == list(range(COUNT))
    assert found["sessions"] > KILLS


def stream(broker: mqtt_brokers.Broker, version: int) -> dict[str, int]:
    """What the device script says at the end, after all the kills."""
    chance = random.Random(4)
    kills = connections = 0
    began = time.monotonic()
    arguments = (
        str(broker.port),
        mqtt_brokers.USER,
        mqtt_brokers.PASSWORD,
        "gate",
        str(version),
        str(COUNT),
        str(KILLS),
    )
    script = mqtt_brokers.device("mqtt_device_stream", *arguments)
    watchdog = threading.Timer(TIMEOUT_S, script.kill)
    watchdog.start()
    said = [""]
    try:
        assert script.stdout
        for line in script.stdout:
            said.append(line.strip())
            verb, _, rest = line.partition(" ")
            connections += verb == "up"
            if verb == "at" and kills < min(KILLS, connections) and int(rest) >= COUNT * (kills + 1) // (KILLS + 2):
                time.sleep(chance.uniform(0, 0.02))  # at any moment, not at that of a line
                broker.kill()
                kills += 1
                time.sleep(chance.uniform(0, 0.1))
                broker.start()
    finally:
        watchdog.cancel()
        script.kill()
        script.wait()
    verb, *figures = said[-1].split()
    assert verb == "end", "\n".join(said[-20:])
    found = dict(zip(NAMES, map(int, figures), strict=True))
    print(f"{type(broker).__name__}, {kills} kills in {COUNT} messages, {time.monotonic() - began:.1f} s: {found}")
    assert kills == KILLS
    assert (found["next"], found["missing"]) == (COUNT, 0)
    assert found["kept"] == found["sessions"] - 1 >= KILLS, "a session was lost"
    assert found["end"] <= found["early"] + 1024, "the heap grew"
    return found


@contextlib.contextmanager
def watcher(broker: mqtt_brokers.Broker) -> Iterator[tuple[paho.Client, dict[str, int]]]:
    """Another session, kept by the broker, on somebody else's client: payload -> how often it came, in order."""
    got: dict[str, int] = {}
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "watcher", clean_session=False)
    client.username_pw_set(mqtt_brokers.USER, mqtt_brokers.PASSWORD)

    def message(client, userdata, item) -> None:
        name = item.payload.decode()
        got[name] = got.get(name, 0) + 1

    client.on_message = message
    client.on_subscribe = lambda *_: got.update(granted=1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe("stream/#", 1)
    try:
        yield client, got
    finally:
        client.disconnect()
        client.loop_stop()


def wait(condition, what: str, within_s: float = 10) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.02)
