"""What a table shows on 80 columns: whole ids, ages, and a word about what has no room."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from patience import limit

from tidegate.cli._common import facts, text
from tidegate.cli._table import Column, age, fitting

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
PROGRAM = """
from tidegate.cli._common import rows
rows(
    [{"id": "cool-1", "cti": "0006616083c911f0", "board": "qemu_mps2", "seen": "2026-01-01T00:00:00Z",
      "detail": "registered as tidegate-gateway on qemu_mps2, says it is acme-cooler", "digest": "ab" * 16}],
    {"id": "ID", "cti": "CTI", "board": "BOARD", "seen": "SEEN", "detail": "DETAIL", "digest": "DIGEST"},
    "none",
)
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-29T11:59:55.123Z", "4 s ago"),
        ("2026-11-29T12:00:00Z", "0 s ago"),
        ("2026-11-29T11:00:00Z", "1 h ago"),
        ("2026-11-27T11:00:00Z", "2 d ago"),
        ("2026-11-29T12:30:00Z", "in 30 min"),
        ("2020-01-01T00:00:00Z", "6 y ago"),
        ("1.0.0", "1.0.0"),
        ("-", "-"),
    ],
)
def test_a_time_is_an_age(text: str, shown: str) -> None:
    assert age(text, NOW) == shown


def test_what_has_no_room_is_left_out_from_the_right() -> None:
    columns = [Column("A", ("x" * 30,)), Column("B", ("y" * 30,)), Column("C", ("z" * 30,))]
    assert fitting(columns, 94) == (columns, [])
    assert fitting(columns, 80) == (columns[:2], ["C"])
    assert fitting(columns, 5) == (columns[:1], ["B", "C"])
    prose = Column("TEXT", ("many short words " * 9,))
    assert prose.folds and prose.least == 20 and fitting([*columns[:1], prose], 60)[1] == []


def printed(width: int | None) -> str:
    if width is None:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=limit(60)
        ).stdout
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(width), "NO_COLOR": "1", "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    text = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:
            break
        if not data:
            break
        text += data
    assert process.wait(limit(60)) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode())


def test_ids_are_never_broken_on_80_columns() -> None:
    text = printed(80)
    assert all(len(line) <= 80 or "Not shown" in line for line in text.splitlines())
    for whole in ("cool-1", "0006616083c911f0", "qemu_mps2", " ago"):
        assert whole in text
    assert "Not shown for want of room: DIGEST" in text and "ab" * 16 not in text


def test_everything_is_there_in_a_pipe_and_wide_enough() -> None:
    text = printed(None)
    assert len(text.splitlines()) == 2 and "ab" * 16 in text and "2026-01-01T00:00:00Z" in text
    assert "ab" * 16 in printed(160)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (22.100000381469727, "22.1"),
        (0.1599999964237213, "0.16"),
        (-0.5, "-0.5"),
        (46.0, "46.0"),
        (0.1, "0.1"),  # of double precision, and so are these
        (1795991990.675, "1795991990.675"),
        (1e300, "1e+300"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_are_as_short_as_they_were_measured(value: float, said: str) -> None:
    assert text(value) == said


def test_names_that_are_typed_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    facts({"log_level": "info", "in_all": {"restart_wait_s": 3}}, verbatim=True)
    facts({"log_level": "info", "alarms": [{"a_b": 1}, {"a_b": 2}]})
    said = [line.split("  ")[0].strip() or line.strip() for line in capsys.readouterr().out.splitlines()]
    assert said[0] == "log_level" and "restart_wait_s" in said[2]
    assert said[3] == "log level" and "alarms, 1 of 2" in said[4] and "alarms, 2 of 2" in said[6], said
