"""`tidegate alarms forward`: each alarm is handed on once, and again if that failed."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from server_process import ServerProcess, eventually

from tidegate.cli import main


def forward(server: ServerProcess, seen: Path, program: str) -> dict:
    command = ["alarms", "forward", "--json", "--server", server.url, "--token-file", str(server.data / "admin.token")]
    done = CliRunner().invoke(main, [*command, "--seen", str(seen), "--run", program])
    return {"code": done.exit_code, **json.loads(done.stdout or done.stderr)}


def test_alarms_are_handed_on_once(start, tmp_path):
    server, seen, out = start(), tmp_path / "seen", tmp_path / "out"
    program = f"tee -a {out}"
    assert forward(server, seen, program) == {"code": 0, "new": 0} and not out.exists()
    device = server.device("gw-1")
    device.born("1.0.0", 1)
    device.say("alarm", {"nonsense": 1})
    eventually(lambda: server.api("GET", "/alarms")["alarms"])
    assert "exit code 1" in forward(server, seen, "false")["error"] and not seen.exists()
    assert "cannot be run" in forward(server, seen, "/no/such/program")["error"]
    assert forward(server, seen, program) == {"code": 0, "new": 1}
    assert "gw-1" in out.read_text() and out.read_text().count("\n") == 1
    assert forward(server, seen, program) == {"code": 0, "new": 0} and out.read_text().count("\n") == 1
    seen.write_text("x")
    assert "holds no number" in forward(server, seen, program)["error"]
