"""Whether a broker lets the server in more than once: asked of mosquitto as `tidegate mosquitto` sets it up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mosquitto_process import Mosquitto, write_files
from ports import free_port

from ota_server.mqtt.admission import lets_in_twice
from ota_server.mqtt.url import BrokerUrl

pytestmark = pytest.mark.broker


@pytest.fixture(params=["password files", "dynamic security"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int, str]]:
    """(how its users are kept, port, the server's password)."""
    options = ["--dynamic"] if request.param == "dynamic security" else []
    write_files(tmp_path / "mosquitto", tmp_path / "data", *options)
    made = Mosquitto(tmp_path / "mosquitto")
    yield request.param, made.port, (tmp_path / "data" / "broker.password").read_text().strip()
    made.stop()


def test_only_with_dynamic_security(broker: tuple[str, int, str]) -> None:
    kind, port, password = broker
    url = BrokerUrl(f"mqtt://tidegate_server@127.0.0.1:{port}", password)
    for _ in range(2):  # what it leaves behind does not count the next time
        assert lets_in_twice(url) == (kind == "dynamic security")


def test_a_node_that_is_gone_is_passed_over(broker: tuple[str, int, str]) -> None:
    kind, port, password = broker
    url = BrokerUrl(f"mqtt://tidegate_server@127.0.0.1:{free_port()},127.0.0.1:{port}", password)
    assert lets_in_twice(url) == (kind == "dynamic security")


def test_no_node_and_a_wrong_password_are_no_answer(broker: tuple[str, int, str]) -> None:
    with pytest.raises(OSError):
        lets_in_twice(BrokerUrl(f"mqtt://tidegate_server@127.0.0.1:{free_port()}", "x"))
    with pytest.raises(OSError, match="refuses this server"):
        lets_in_twice(BrokerUrl(f"mqtt://tidegate_server@127.0.0.1:{broker[1]}", "wrong"))
