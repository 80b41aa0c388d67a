"""What goes wrong outside of a gateway is tried again: a lying payload server, a broker that is away during the trial.

The gateway fetches through a server that lies, and speaks with the broker through a relay that can be cut.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import select
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Installation, LabGateway
from shared_board import CHANGES

DEVICE = "gate-8"


class Front:
    """Stands in front of the payload server. how: "right", "301", "403", "404", "nolength" or "bit"."""

    def __init__(self, behind: str) -> None:
        self.how = "right"
        self.asked = 0
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                front.asked += 1
                if front.how.isdigit():
                    self.send_response(int(front.how))
                    self.send_header("Location", "https://elsewhere.example.org" + self.path)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if front.how == "nolength":
                    self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nabc")
                    return
                with urllib.request.urlopen(behind + self.path.lstrip("/")) as answer:
                    data = bytearray(answer.read())
                if front.how == "bit":
                    data[len(data) // 2] ^= 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Relay:
    """Passes connections on to a port, until it is cut."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._open: list[socket.socket] = []
        self.up = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def cut(self) -> None:
        self.up = False
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.up:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._behind))
            self._open += [near, far]
            threading.Thread(target=self._pass, args=(near, far), daemon=True).start()

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            try:
                while True:
                    for one in select.select([near, far], [], [])[0]:
                        data = one.recv(65536)
                        if not data:
                            return
                        (far if one is near else near).sendall(data)
            except (OSError, ValueError):
                return


class Around:
    """An installation, its gateway, and what stands between them."""

    def __init__(self, place: Installation, front: Front, relay: Relay) -> None:
        self.place, self.front, self.relay = place, front, relay

    @property
    def gateway(self) -> LabGateway:
        found = self.place.boards[0]
        assert isinstance(found, LabGateway)
        return found

    def offer(self) -> dict[str, Any]:
        return self.place.api.device(DEVICE)

    def wait_state(self, state: str, timeout_s: float = 90) -> dict[str, Any]:
        def check() -> dict[str, Any] | None:
            shown = self.place.api.device(DEVICE)
            return shown if (shown["offer"] or {}).get("state") == state else None

        return self.place.wait(f"the offer being {state}", check, timeout_s)

    def retry(self) -> str:
        return self.place.tidegate("cmd", "send", DEVICE, "update", "retry", "--key", self.place.key("command"))


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Around]:
    """A gateway that runs 1.0.0 behind a front and a relay."""
    with Installation(tmp_path_factory.mktemp("retries") / "place", target="unix") as place:
        place.make_keys()
        place.start_server()
        place.copy_source()
        place.build("1.0.0", 1)
        board = place.add_gateway(DEVICE)
        front, relay = Front(place.url.rstrip("/") + "/"), Relay(place.mqtt_port)
        settings: Path = place.folder / f"{DEVICE}.config.json"
        config = json.loads(settings.read_text())
        config["mqtt"]["port"] = relay.port
        config["payloads"] = f"http://127.0.0.1:{front.port}/"
        config["trial_timeout_s"] = 10
        settings.write_text(json.dumps(config))
        place.flash(board, DEVICE, "1.0.0")
        place.wait_running(DEVICE, "1.0.0", 30)
        yield Around(place, front, relay)
        front.close()
        relay.close()


def test_a_payload_that_cannot_be_fetched_is_told_and_taken_once_it_can(around: Around) -> None:
    place = around.place
    place.change(CHANGES / "1.1.0.diff")
    place.build("1.1.0", 2, previous="1.0.0")
    around.front.how = "301"
    place.publish("1.1.0")
    words = {"301": "301", "403": "403", "nolength": "has 3 bytes", "404": "no /p/", "bit": "not the"}
    for how, word in words.items():
        around.front.how = how
        before = place.last_report(DEVICE) if how != "301" else 0
        if how != "301":
            around.retry()
        report = place.wait_report(DEVICE, "failed", before, 60)
        assert word in report["detail"] and report["again"] > 0, report
        shown = around.wait_state("retrying", 10)
        assert word in shown["update"]["detail"], shown["update"]
    said = json.loads(place.tidegate("rollout", "status", "1.1.0", "--json"))
    assert said["counts"]["retrying"] == 1 and "not the" in said["devices"][0]["why"]
    assert "retrying" in place.tidegate("device", "show", DEVICE)
    around.front.how = "right"
    place.wait_running(DEVICE, "1.1.0", 120)  # by itself: the pause began at a minute


def test_a_broker_that_is_away_during_the_trial_bans_nothing(around: Around) -> None:
    place, board = around.place, around.gateway
    before = place.last_report(DEVICE)
    mark = len(board.lines)
    place.build("1.1.1", 3, previous="1.1.0")
    place.publish("1.1.1")
    board.wait_line(r"trial 1 of 3", 60, mark)
    around.relay.cut()
    board.wait_line(r"sequence 3 rolled back", 120, mark)
    around.relay.up = True
    report = place.wait_report(DEVICE, "rolled-back", before, 60)
    assert report["sequence"] == 3 and report["again"] > 0 and "broker" in report["detail"], report
    around.wait_state("retrying", 20)
    said = place.tidegate("rollout", "retry", "1.1.1", "--key", place.key("command"), "--yes")
    assert f"{DEVICE}: tries again" in said
    place.wait_running(DEVICE, "1.1.1", 60)


def test_a_ban_is_lifted_by_the_signed_command_and_by_rollout_retry(around: Around) -> None:
    """1.2.0 hangs: with a broker there it is banned, and tried again only because a person says so."""
    place = around.place
    place.change(CHANGES / "1.2.0.diff")
    place.build("1.2.0", 4, previous="1.1.1")
    for how in ("publish", "rollout", "cmd"):
        before = place.last_report(DEVICE)
        if how == "publish":
            place.publish("1.2.0")
        elif how == "rollout":
            said = place.tidegate("rollout", "retry", "1.2.0", "--key", place.key("command"), "--yes")
            assert f"{DEVICE}: tries again; 1 banned" in said
        else:
            assert "lifted" in around.retry()
        place.wait_report(DEVICE, "installed", before, 60)
        report = place.wait_report(DEVICE, "rolled-back", before, 120)
        assert "again" not in report, report
        around.wait_state("failed", 20)
        place.wait_running(DEVICE, "1.1.1", 30)
