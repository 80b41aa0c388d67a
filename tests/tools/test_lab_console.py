"""What the lab reads of a board's console."""

from __future__ import annotations

import threading
from pathlib import Path

from lab.console import RecordedConsole


def test_half_a_line_is_not_read_as_a_line(tmp_path: Path) -> None:
    log = tmp_path / "board.console"
    console = RecordedConsole(log)
    log.write_text("start\r\napp 1, loader dropp")
    assert console.lines == ["start"]
    rest = threading.Timer(0.3, lambda: log.write_text("start\r\napp 1, loader dropped\r\n>>> "))
    rest.start()
    found = console.wait_line(r"app (\d), loader (\w+)", 30)
    rest.join()
    assert found.groups() == ("1", "dropped")
