"""The server's client knows several nodes of a broker: it goes to the next when one is gone or hangs up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mosquitto_process import Mosquitto
from patience import limit, until
from ports import free_port

from ota_server.mqtt import client
from ota_server.mqtt.url import BrokerUrl

pytestmark = pytest.mark.broker


def test_addresses_of_nodes() -> None:
    url = BrokerUrl("mqtt://server:p%2C1@a,b:1884,[::1]:1885")
    assert url.addresses == [("a", 1883), ("b", 1884), ("::1", 1885)]
    assert (url.user, url.password) == ("server", "p,1")
    assert str(url) == "mqtt://a:1883,b:1884,[::1]:1885"
    assert BrokerUrl("mqtts://s@a,b").addresses == [("a", 8883), ("b", 8883)]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Mosquitto]]:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mosquitto.conf").write_text("listener 1883 127.0.0.1\nallow_anonymous true\n")
        made.append(Mosquitto(tmp_path / name))
    yield made
    for node in made:
        node.stop()


def test_the_next_node_is_taken(nodes: list[Mosquitto]) -> None:
    """The first address has nobody, the second hangs up, the third is a node, and so is the fourth."""
    with socket.create_server(("127.0.0.1", 0)) as rude:
        closed = threading.Thread(target=_hang_up, args=(rude,), daemon=True)
        closed.start()
        ports = [free_port(), rude.getsockname()[1], *(node.port for node in nodes)]
        url = BrokerUrl("mqtt://server:x@" + ",".join(f"127.0.0.1:{port}" for port in ports))
        made, at = client.make(url, "server", clean_session=True), []
        made.reconnect_delay_set(1, 1)
        made.on_connect = lambda client, *_: at.append(client.port)
        made.connect_async(*url.addresses[0], keepalive=20)
        made.loop_start()
        try:
            until("a connection", lambda: at)
            assert at == [nodes[0].port]
            nodes[0].process.kill()
            until("a connection to the other node", lambda: len(at) > 1)
            assert at == [node.port for node in nodes]
        finally:
            made.disconnect()
            made.loop_stop()
    closed.join(limit(10))


def _hang_up(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.close()
