"""QoS 1 against brokers that are killed again and again while messages are on their way.

10 kills in 2,000 messages; `make soak` (TIDEGATE_FULL=1) has 50 in 10,000.
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
from patience import limit

pytestmark = pytest.mark.soak
SIZE = (50, 10_000) if os.environ.get("TIDEGATE_FULL") else (10, 2_000)  # kills, messages
UNDER_WAY = 16  # messages, ours and the broker's, that nobody has confirmed: so many may come again at each kill
TIMEOUT_S = limit(400)
NAMES = ("next", "missing", "late", "again", "furthest", "sessions", "kept", "early", "end")


@pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
def test_mosquitto(version: int) -> None:
    with mqtt_brokers.running(mqtt_brokers.Mosquitto) as broker:
        found = stream(broker, version, *SIZE)
    assert found["late"] == 0, "out of order"
    assert found["again"] <= UNDER_WAY * SIZE[0]
    assert found["furthest"] <= UNDER_WAY


def test_nats() -> None:
    """NATS 2.9 forgets, when it is killed, what it had delivered: after that it sends messages again, and some behind
    later ones. And an empty store of its makes it forget how many messages there were, and it falls silent; another
    session that is away all the time keeps the store from being empty.
    """
    with mqtt_brokers.running(mqtt_brokers.Nats) as broker:
        with away(broker) as granted:
            assert granted.wait(limit(10)), "no subscription"
        stream(broker, 4, *SIZE)


def stream(broker: mqtt_brokers.Broker, version: int, most: int, count: int) -> dict[str, int]:
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
        str(count),
        str(most),
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
            if verb == "at" and kills < min(most, connections) and int(rest) >= count * (kills + 1) // (most + 2):
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
    print(f"{type(broker).__name__}, {kills} kills in {count} messages, {time.monotonic() - began:.1f} s: {found}")
    assert kills == most
    assert (found["next"], found["missing"]) == (count, 0)
    assert found["kept"] == found["sessions"] - 1 >= most, "a session was lost"
    # One block that is lost with each message would be 64 KB. A broker that repeats much leaves what it is at, and the
    # collector takes old values on the stack for pointers.
    assert found["end"] <= found["early"] + 8 * 1024, "the heap grew"
    return found


@contextlib.contextmanager
def away(broker: mqtt_brokers.Broker) -> Iterator[threading.Event]:
    """A session of somebody else's client that the broker keeps; the event is set when it has subscribed."""
    granted = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "away", clean_session=False)
    client.username_pw_set(mqtt_brokers.USER, mqtt_brokers.PASSWORD)
    client.on_subscribe = lambda *_: granted.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe("stream/#", 1)
    try:
        yield granted
    finally:
        client.disconnect()
        client.loop_stop()
