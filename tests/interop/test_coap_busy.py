"""A server that answers 5.03 says when to come again (RFC 7252, 5.9.3.4), and the device's connection does."""

from __future__ import annotations

import subprocess
import time

import pytest
from aiocoap import ACK, Code, Message
from coap_bad_peer import BadServer, encoded
from coap_processes import device
from patience import limit

MAX_AGE_S = 4  # longer than the pause of two seconds that the device makes anyway


class Busy:
    """Refuses the first request of each path, then goes through what a connection does. came: when they came."""

    def __init__(self) -> None:
        self.came: dict[str, list[float]] = {}

    def __call__(self, request: Message) -> list[bytes]:
        path = "/".join(request.opt.uri_path)
        times = self.came.setdefault(path, [])
        times.append(time.monotonic())
        options: dict = {}
        if len(times) == 1:
            code, options = Code.SERVICE_UNAVAILABLE, {"max_age": MAX_AGE_S}
        elif path.endswith("up/birth"):
            code, options = Code.UNAUTHORIZED, {"echo": b"e" * 16}
        elif path.endswith("down/offer"):
            code, options = Code.CONTENT, {"observe": 1}
        else:
            code = Code.CHANGED
        return [encoded(code, kind=ACK, mid=request.mid, token=request.token, **options)]


@pytest.mark.parametrize("ground", ["cpython", "unix"])
def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(ground: str) -> None:
    busy = Busy()
    with BadServer(busy) as server:
        command = device("coap_device_link.py", server.port, ground=ground)
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60))
    assert "\ndone\n" in done.stdout, done.stdout + done.stderr
    assert set(busy.came) == {f"tg/gate-1/{name}" for name in ("up/birth", "up/state", "down/offer")}
    for path, times in busy.came.items():
        assert times[1] - times[0] >= MAX_AGE_S, path
