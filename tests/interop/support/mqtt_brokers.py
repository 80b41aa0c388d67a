"""MQTT brokers that others wrote, as Debian packages them, each keeping its sessions over a kill; and device scripts.

`Mosquitto` and `Nats` run in a folder on a port of their own and can be killed and started again (peers.Broker).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import programs
import pytest
from peers import PASSWORD, USER, Broker

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
DISK = "/var/tmp"  # what a kill leaves of a broker's store is not the same in memory
UNIX = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", ROOT / "build/unix/micropython"))


class Mosquitto(Broker):
    """Sessions and messages are saved at each change, so that a kill loses what a power cut would lose."""

    options = ""

    def command(self, port: int) -> list[str]:
        passwords = self.folder / "passwords"
        if not passwords.exists():
            subprocess.run([programs.require("mosquitto_passwd"), "-b", "-c", passwords, USER, PASSWORD], check=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"persistence true\npersistence_location {self.folder}/\nautosave_on_changes true\nautosave_interval 1\n"
            f"max_inflight_messages 0\nset_tcp_nodelay true\n{self.options}"
            + ("user root\n" if os.getuid() == 0 else "")
        )
        return [programs.require("mosquitto"), "-c", str(config)]


class Nats(Broker):
    """NATS's MQTT keeps QoS 1 in its JetStream, in files."""

    def command(self, port: int) -> list[str]:
        config = self.folder / "nats.conf"
        config.write_text(
            f'server_name: "interop"\nhost: 127.0.0.1\nport: -1\njetstream {{ store_dir: "{self.folder}/store" }}\n'
            f'mqtt {{ host: 127.0.0.1, port: {port}, ack_wait: "2s", max_ack_pending: 100 }}\n'
            f'authorization {{ user: "{USER}", password: "{PASSWORD}" }}\n'
        )
        return [programs.require("nats-server"), "-c", str(config)]


@contextlib.contextmanager
def running(kind: type[Broker]) -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix="tidegate-interop-", dir=DISK) as folder:
        broker = kind(Path(folder))
        try:
            broker.start()
            yield broker
        finally:
            broker.kill()


def device(script: str, *arguments: str, ground: str = "unix", heap: str = "256k") -> subprocess.Popen[str]:
    """Starts tests/interop/<script>.py with the device's libraries, on MicroPython or CPython; its lines on stdout."""
    if ground == "unix":
        if not UNIX.exists():
            pytest.skip(f"{UNIX} is not built: make -C boards/unix")
        command = [str(UNIX), "-X", f"heapsize={heap}"]
    else:
        command = [sys.executable]
    libraries = str(ROOT / "firmware/lib")
    return subprocess.Popen(
        [*command, str(HERE / f"{script}.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "MICROPYPATH": f"{libraries}:.frozen", "PYTHONPATH": libraries},
    )
