"""Telemetry of the emulated board: settings, features, and the ring on flash when the power is cut again and again.

A small application counts; the broker is away and the board is killed at random moments, also while it sends what it
kept. What it had said to be on flash must arrive, in order, and again at most what was on its way when it was killed.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cbor2
import counter_app
import paho.mqtt.client as mqtt
import programs
import pytest
from lab import Installation, LabBoard
from patience import limit
from ports import free_port
from shared_board import DEVICE

from tidegate.flash.serial_session import Session

CUTS_AWAY = int(os.environ.get("TIDEGATE_CUTS", "4"))  # while the broker is away
PER_CUT = 8  # values on flash at least before each
CUTS_SENDING = max(2, CUTS_AWAY // 3)  # while the board sends what it kept


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose board runs the example application, its streams changed by the config."""
    with Installation(tmp_path_factory.mktemp("e2e") / "place") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        board = made.add_board(DEVICE)
        configure(made, streams={"vehicle": {"window": 20, "over": {"engine_speed": 100}}, "env": {"period_ms": 500}})
        made.flash(board, DEVICE, "1.0.0")
        yield made


def configure(place: Installation, **more: object) -> None:
    path = place.folder / f"{DEVICE}.config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def test_only_features_of_the_bus_leave_the_board(place: Installation) -> None:
    place.wait_running(DEVICE, "1.0.0", 60)

    def told() -> dict:
        return {name: entry["value"] for name, entry in place.api.device(DEVICE)["telemetry"].items()}

    place.wait("features", lambda: "engine_speed.mean" in told(), 60)
    shown = told()
    for name in ("engine_speed.mean", "engine_speed.max", "engine_speed.dev", "vehicle_speed.mean", "coolant.rate"):
        assert name in shown, shown
    assert not {"engine_speed", "vehicle_speed", "coolant", "vehicle.rejected"} & set(shown)
    assert shown["engine_speed.over"] == 20, "all of the window, as the config's window and threshold say"
    assert 800 <= shown["engine_speed.mean"] <= shown["engine_speed.max"] < 3300
    assert 16 < shown["temperature"] < 26 and 12 < shown["supply"] < 12.5


class Listener:
    """A broker, and everything that was published to it, in order."""

    def __init__(self, folder: Path, port: int):
        self.port = port
        self.folder = folder
        self.values: list[int] = []
        self.numbers: list[int] = []
        self._lock = threading.Lock()
        folder.mkdir()
        (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        self._process = None

    def __enter__(self) -> Listener:
        from lab import processes

        program = programs.require("mosquitto")
        self._process = processes.start([program, "-c", self.folder / "mosquitto.conf"], self.folder / "log")
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        self._client.on_message = self._message
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        deadline = time.monotonic() + limit(10)
        while True:
            try:
                self._client.connect("127.0.0.1", self.port)
                break
            except OSError:
                assert time.monotonic() < deadline, "mosquitto did not start"
                time.sleep(0.05)
        self._client.loop_start()
        self._client.subscribe("tg/+/up/tele/#", 1)
        assert subscribed.wait(limit(10))
        return self

    def __exit__(self, *_: object) -> None:
        from lab import processes

        self._client.loop_stop()
        self._client.disconnect()
        processes.stop(self._process)

    def _message(self, client: object, userdata: object, message: mqtt.MQTTMessage) -> None:
        for record in cbor2.loads(message.payload):
            with self._lock:
                self.values.append(record[2])
                if -257 in record:
                    self.numbers.append(record[-257])


def test_what_was_on_flash_arrives_whatever_is_cut(place: Installation, record_property) -> None:
    seed = int(os.environ.get("TIDEGATE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"seed {seed} (TIDEGATE_SEED={seed} repeats the moments)")
    record_property("seed", seed)
    moments = random.Random(seed)
    place.put_application(counter_app.source())
    place.build("2.0.0", 9)
    port = free_port()
    mqtt_host = json.loads((place.folder / f"{DEVICE}.config.json").read_text())["mqtt"]["host"]
    configure(place, mqtt={"host": mqtt_host, "port": port}, log_level="debug", streams={}, store={"write_s": 1})
    board = place.boards[0]
    assert isinstance(board, LabBoard)
    place.stop_server()
    with board.serial_port_free() as serial, Session(serial) as session:
        session.run("import os\nfor n in os.listdir('/tg/telemetry'): os.remove('/tg/telemetry/' + n)")
    place.flash(board, DEVICE, "2.0.0")

    began = len(board.lines)
    for _ in range(CUTS_AWAY):
        mark = len(board.lines)
        place.wait("values on flash", lambda mark=mark: len(on_flash(board.lines[mark:])) >= PER_CUT, 60)
        time.sleep(moments.uniform(0, 2.5))
        board.power_cut()
        board.power_on()
    listener = Listener(place.folder / "broker", port)
    with listener:
        for _ in range(CUTS_SENDING):
            seen = len(listener.values)
            place.wait("something sent", lambda seen=seen: len(listener.values) > seen + 3, 60)
            time.sleep(moments.uniform(0, 0.5))
            board.power_cut()
            at_last_cut = len(board.lines)
            board.power_on()
        # Up to the last cut, as the board goes on counting: on a slow machine it puts more on flash than it sends.
        kept = on_flash(board.lines[began:at_last_cut])
        assert len(kept) >= PER_CUT * CUTS_AWAY
        place.wait("all of it", lambda: listener.values and listener.values[-1] >= max(kept), 120)
        board.power_cut()
    once = set(listener.values)
    assert not kept - once, f"on flash and lost: {sorted(kept - once)}"
    repeats = [at for at in range(1, len(listener.values)) if listener.values[at] <= listener.values[at - 1]]
    assert all(listener.values[at] == listener.values[at - 1] for at in repeats), "order"
    assert len(repeats) <= CUTS_SENDING + 1, "again only what was on its way"
    for at in repeats:  # the server tells it by its number
        assert listener.numbers[at] == listener.numbers[at - 1]
    print(f"{len(kept)} on flash at {CUTS_AWAY + CUTS_SENDING} cuts, {len(once)} arrived, {len(repeats)} of them twice")


def on_flash(lines: list[str]) -> set[int]:
    """What was counted before a line that says all that waited is on flash. The newest may have come in between."""
    kept: set[int] = set()
    waiting: list[int] = []
    for line in lines:
        if found := re.search(r"counted (\d+)$", line):
            if waiting and int(found[1]) != waiting[-1] + 1:
                waiting = []  # another boot
            waiting.append(int(found[1]))
        elif "bytes kept" in line:
            kept.update(waiting[:-1])
            waiting = waiting[-1:]
    return kept
