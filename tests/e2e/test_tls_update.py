"""An update over TLS: MQTT with client certificates and HTTPS, on the emulated board with its 128 KiB heap."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Iterator

import pytest
from lab import Installation, LabBoard
from lab.installation import HOST_FROM_BOARD
from patience import limit
from shared_board import CHANGES, DEVICE

from tidegate.trust import certificates
from tidegate.trust.certificates import Lifetime

UPDATE_S = 180


@pytest.fixture(scope="module", params=["mutual", "mosquitto", "Linux gateway"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that speaks TLS only, with a gateway that runs 1.0.0; 1.1.0 is built, not published."""
    broker, tls = ("mosquitto", "server") if request.param == "mosquitto" else ("embedded", "mutual")
    target = "unix" if request.param == "Linux gateway" else "qemu_mps2"
    with Installation(tmp_path_factory.mktemp("tls") / "place", broker=broker, tls=tls, target=target) as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        gateway = made.add_gateway(DEVICE) if target == "unix" else made.add_board(DEVICE)
        made.flash(gateway, DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", 90)
        made.change(CHANGES / "1.1.0.diff")
        made.build("1.1.0", 2, previous="1.0.0")
        yield made


def test_flashing_again_changes_nothing(place: Installation) -> None:
    """Not even the time, which is written with what else is new."""
    gateway = place.boards[0]
    if isinstance(gateway, LabBoard):
        pytest.skip("for the gateway that is flashed in a second")
    said = place.flash(gateway, DEVICE, "1.0.0")
    assert "wrote" not in said and "/tg/ca.der" in said and "/tg/client-key.der" in said
    place.wait_running(DEVICE, "1.0.0", 60)


def test_an_update_over_tls(place: Installation) -> None:
    before = place.last_report(DEVICE)
    place.publish("1.1.0")
    assert place.wait_report(DEVICE, "offered", before, UPDATE_S)["detail"] == "patch"
    place.wait_report(DEVICE, "confirmed", before, UPDATE_S)
    place.wait_running(DEVICE, "1.1.0", UPDATE_S)
    console = "\n".join(place.boards[0].lines)
    assert "Traceback" not in console


def test_nothing_of_it_was_in_clear(place: Installation) -> None:
    """Both ports answer a TLS client that trusts the authority, and nobody who speaks plainly."""
    context = ssl.create_default_context(cafile=place.certificates / "ca.crt")
    ports = [place.mqtt_port, int(place.url.rsplit(":", 1)[1])]
    for port in ports:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
        ):
            assert secure.version() in ("TLSv1.2", "TLSv1.3")
        with socket.create_connection(("127.0.0.1", port), 10) as raw:
            raw.settimeout(limit(10))
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                answer = raw.recv(100)
            except ConnectionError:
                answer = b""
            assert not answer.startswith((b"HTTP", b"\x20"))


def test_a_certificate_that_has_run_out(place: Installation) -> None:
    """The board has no clock. It was told the time when it was flashed, and that is enough, also after a power cut."""
    board = place.boards[0]
    if place.mosquitto or not isinstance(board, LabBoard):
        pytest.skip("for the board without a clock, which has shown it with the other broker")
    place.stop_server()
    replace(place, Lifetime.of(-1))
    place.start_server()
    seen = len(board.lines)
    board.power_cut()
    board.power_on()
    board.wait_line("mqtt: .*certificate validity has expired", 90, seen)
    place.stop_server()
    replace(place, Lifetime.of(30))
    place.start_server()
    place.wait_running(DEVICE, "1.1.0", 90)


def replace(place: Installation, lifetime: Lifetime) -> None:
    """Another server certificate of the same authority."""
    authority = certificates.load(place.certificates / "ca.crt", place.certificates / "ca.key")
    files = place.certificates / "server.crt", place.certificates / "server.key"
    for file in files:
        file.unlink()
    start = lifetime.end - datetime.timedelta(days=30)
    names = [HOST_FROM_BOARD, "127.0.0.1"]
    certificates.issue_server(authority, names, Lifetime(start, lifetime.end)).save(*files)
