"""Two nodes of RabbitMQ that speak MQTT and a third that only votes, configured as docs/ops/rabbitmq.conf."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import programs
from balancer import listens
from patience import until
from ports import free_port

NODES = ("broker-a", "broker-b")
SERVERS = (*NODES, "witness")
EXAMPLE = Path(__file__).parents[3] / "docs/ops/rabbitmq.conf"


class RabbitCluster:
    """Not started yet.

    users: passwords by device id. server_password: of `tidegate_server`. ports: of the nodes.
    """

    def __init__(self, folder: Path, server_password: str, users: dict[str, str], ports: Sequence[int]) -> None:
        self._folder = folder
        self._ports = dict(zip(NODES, ports, strict=True))
        self._amqp = {name: free_port() for name in SERVERS}
        self._names = free_port()  # of Erlang's own name server
        self._env: dict[str, dict[str, str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir()
        (folder / "plugins").write_text("[rabbitmq_mqtt].\n")
        (folder / "definitions.json").write_text(json.dumps(definitions(server_password, users)))
        for name in SERVERS:
            (folder / f"{name}.conf").write_text(self._configured(EXAMPLE.read_text(), name))
            self._env[name] = self._environment(name)

    def _configured(self, text: str, name: str) -> str:
        """The example as it is, with this machine's ports and folders."""
        mqtt = f"127.0.0.1:{self._ports[name]}" if name in NODES else ""
        lines = [
            line.replace("0.0.0.0:1883", mqtt)
            .replace("127.0.0.1:5672", f"127.0.0.1:{self._amqp[name]}")
            .replace("/etc/rabbitmq", str(self._folder))
            for line in text.splitlines()
            if mqtt or not line.startswith("mqtt.listeners")
        ]
        if not mqtt:
            lines.append("mqtt.listeners.tcp = none")
        text = "\n".join(lines) + "\n"
        for node in SERVERS:
            text = text.replace(f"rabbit@{node}", f"{self._family}-{node}@localhost")
        return text

    @property
    def _family(self) -> str:
        return f"tg{self._names}"

    def _environment(self, name: str) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self._folder),
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{self._family}-{name}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._folder / name),
            "RABBITMQ_LOG_BASE": str(self._folder / name),
            "RABBITMQ_CONFIG_FILE": str(self._folder / f"{name}.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def spawn(self, name: str) -> None:
        """Start one, without waiting for anything."""
        with (self._folder / f"{name}.out").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [programs.require("rabbitmq-server")],
                env=self._env[name],
                stdout=log,
                stderr=log,
                start_new_session=True,  # a shell, and the node below it
            )

    def start(self) -> None:
        """Until each node speaks MQTT."""
        epmd = [programs.require("epmd"), "-port", str(self._names), "-address", "127.0.0.1"]
        self._running["epmd"] = subprocess.Popen(epmd, start_new_session=True)
        for name in SERVERS:  # one after the other: nodes that start together may each begin a cluster of their own
            self.spawn(name)
            self.wait(name)

    def wait(self, name: str) -> None:
        """Until a node takes clients; the witness takes those of AMQP."""
        port = self._ports.get(name, self._amqp[name])
        until(f"{name} listens", lambda: listens(port), 120)

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in list(self._running):
            self.kill(name)


def definitions(server_password: str, users: dict[str, str]) -> dict[str, Any]:
    """As docs/brokers.md has it: the server, and each device with what is its own."""
    rights = [
        ("tidegate_server", server_password, "tidegate-.*", r"^tg\.[^.]+\.down\.", r"^tg\.\*\.up\."),
        *((name, word, name, rf"^tg\.{name}\.up\.", rf"^tg\.{name}\.down\.") for name, word in users.items()),
    ]
    return {
        "vhosts": [{"name": "/"}],
        "users": [{"name": name, "password": word, "tags": ""} for name, word, _, _, _ in rights],
        "permissions": [
            {
                "user": name,
                "vhost": "/",
                "configure": f"^mqtt-subscription-{client}qos[01]$",
                "write": rf"^(mqtt-subscription-{client}qos[01]|amq\.topic)$",
                "read": rf"^(mqtt-subscription-{client}qos[01]|amq\.topic)$",
            }
            for name, _, client, _, _ in rights
        ],
        "policies": [
            {
                "name": "mirrored",
                "vhost": "/",
                "pattern": "^mqtt-subscription-",
                "apply-to": "queues",
                "definition": {"ha-mode": "all", "ha-promote-on-failure": "always"},
                "priority": 0,
            }
        ],
        "topic_permissions": [
            {"user": name, "vhost": "/", "exchange": "amq.topic", "write": write, "read": read}
            for name, _, _, write, read in rights
        ],
    }
