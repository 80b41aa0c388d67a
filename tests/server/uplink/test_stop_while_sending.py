"""The server is stopped or killed while a device sends as fast as it can: whatever was acknowledged is filed."""

from __future__ import annotations

import signal
import threading

import pytest
from patience import limit
from server_process import eventually

from tidegate.wire.cbor import dumps


def taken(info) -> bool:
    """Whether the broker has acknowledged it."""
    return info.rc == 0 and info.is_published()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_acknowledged_before_the_end_is_filed(start, end):
    server = start()
    device = server.device("gw-1")
    device.born("1.0.0", 1)
    pending: list = []
    stopped = threading.Event()

    def send() -> None:
        while not stopped.wait(0.002):
            number = len(pending)
            pack = {-2: "urn:dev:org:tidegate:gw-1:", 0: "n", 2: number, -257: 1000 + number}
            pending.append(device.client.publish("tg/gw-1/up/tele/count", dumps([pack]), 1))

    sender = threading.Thread(target=send)
    sender.start()
    eventually(lambda: sum(map(taken, pending)) > 50)
    server.process.send_signal(end)
    assert server.process.wait(limit(60)) == (0 if end == signal.SIGTERM else -end)
    stopped.set()
    sender.join()
    acknowledged = {number for number, info in enumerate(pending) if taken(info)}
    device.leave()
    (server.data / "serve.json").unlink(missing_ok=True)  # a killed server leaves it
    again = start(data=server.data)
    filed: list[int] = []
    row = 0
    while rows := again.api("GET", f"/devices/gw-1/telemetry?stream=count&after={row}&limit=500")["telemetry"]:
        filed += [int(one["value"]) for one in rows]
        row = rows[-1]["id"]
    assert len(acknowledged) > 50
    assert not acknowledged - set(filed), f"acknowledged and lost: {sorted(acknowledged - set(filed))[:20]}"
    assert filed == sorted(set(filed))
