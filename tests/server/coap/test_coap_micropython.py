"""The server's CoAP endpoint and the device's CoAP library, in MicroPython with a small heap."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
import signed_releases as releases
from device_commands import send, signed
from patience import limit
from server_process import BOARD, PRODUCT, ServerProcess, eventually

ROOT = Path(__file__).resolve().parents[3]
MICROPYTHON = ROOT / "build" / "unix" / "micropython"
SLOW_S = 60


@pytest.mark.skipif(not MICROPYTHON.exists(), reason="needs the unix port: make -C boards/unix")
def test_a_gateway_in_micropython(tmp_path, ring):
    server = ServerProcess(tmp_path / "data", "--trust", str(ring.trust), "--coap", "127.0.0.1:0")
    process = None
    try:
        payload = random.Random(3).randbytes(20_000)
        name = releases.digest(payload)
        server.api("PUT", f"/payloads/{name}", content=payload)
        body = {"id": "gw-coap", "board": BOARD, "product": PRODUCT}
        key = server.api("POST", "/devices", json=body)["coap"]["key"]
        script = [str(MICROPYTHON), "-X", "heapsize=128k", str(ROOT / "tests/server/support/coap_gateway.py")]
        script += [server.coap.rpartition(":")[2], "gw-coap", key, name]
        environment = {**os.environ, "MICROPYPATH": f".frozen:{ROOT / 'firmware' / 'lib'}"}
        process = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        eventually(lambda: server.shown("gw-coap")["online"] or process.poll() is not None, SLOW_S)
        message = signed(ring, "gw-coap", 9300)
        assert send(server, "gw-coap", message).status_code == 202
        told, _ = process.communicate(timeout=limit(SLOW_S))
        assert told.splitlines() == [
            "state True",
            "telemetry True",
            "malformed False",
            "payload 20000 True",
            f"command {message.hex()}",
            "result True",
            "again True",
        ]
        assert process.returncode == 0
        shown = server.shown("gw-coap")
        assert len(shown["telemetry"]) == 20 and {a["kind"] for a in shown["alarms"]} == {"crash", "bad-message"}
        assert server.api("GET", f"/commands/{9300:016x}")["outcome"] == "done"
    finally:
        if process is not None and process.poll() is None:
            process.kill()
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
