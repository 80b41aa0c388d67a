"""`tidegate` with a server of the test, as its admin types it."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner
from server_process import ServerProcess

from tidegate.cli import main


def run(server: ServerProcess, *words: str, code: int = 0) -> str:
    """What the command printed, errors included."""
    token = str(server.data / "admin.token")
    done = CliRunner().invoke(
        main, list(words), env={"TIDEGATE_SERVER": server.url, "TIDEGATE_TOKEN_FILE": token, "COLUMNS": "200"}
    )
    assert done.exit_code == code, done.output
    return done.output


def asked(server: ServerProcess, *words: str) -> Any:
    return json.loads(run(server, *words, "--json"))
