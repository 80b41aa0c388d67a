"""The program on the page of `mqtt` works where nothing but the package is installed: a bare unix MicroPython."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import mip_packages
import mqtt_brokers
import paho.mqtt.client as paho
import pytest
from patience import limit


class Open(mqtt_brokers.Mosquitto):
    """Without passwords, as on a bench."""

    def command(self, port: int) -> list[str]:
        command = super().command(port)
        config = Path(command[-1])
        config.write_text(config.read_text().replace("allow_anonymous false", "allow_anonymous true"))
        return command


def test_twenty_lines(tmp_path: Path) -> None:
    if not mqtt_brokers.UNIX.exists():
        pytest.skip(f"{mqtt_brokers.UNIX} is not built: make -C boards/unix")
    mip_packages.install("mqtt", tmp_path)
    page = (mqtt_brokers.ROOT / "docs/mqtt.md").read_text()
    found = re.search(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert found
    program = found.group(1)
    assert len([line for line in program.splitlines() if line]) <= 20
    heard: dict[str, list[str]] = {}
    with mqtt_brokers.running(Open) as broker:
        watcher = paho.Client(paho.CallbackAPIVersion.VERSION2, "watcher")
        watcher.on_message = lambda _c, _u, item: heard.setdefault(item.topic, []).append(item.payload.decode())
        watcher.connect("127.0.0.1", broker.port)
        watcher.subscribe("bench-1/#", 1)
        watcher.publish("bench-1/set/pace", "slow", 1, retain=True)
        watcher.loop_start()
        done = subprocess.run(
            [
                mqtt_brokers.UNIX,
                "-X",
                "heapsize=256k",
                "-c",
                program.replace('"192.168.1.10"', f'"127.0.0.1", {broker.port}'),
            ],
            env={**os.environ, "MICROPYPATH": f"{tmp_path}:.frozen"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=limit(30),
        )
        watcher.loop_stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(done.stdout.splitlines()) == ["bench-1/set/pace slow", "the broker has it"], done.stdout + done.stderr
    assert heard["bench-1/state"] == ["here"], "no will: it took its leave"
    assert len(heard["bench-1/uptime"]) == 3
