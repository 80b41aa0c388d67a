"""An application's own opcodes: the one in docs/commands.md, built, booted on the emulated Cortex-M3, asked through
mosquitto and the server, and cut off in the middle.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Installation
from shared_board import DEVICE

from tidegate.commands import send

PAGE = Path(__file__).parent.parent.parent / "docs" / "commands.md"
AT_REST = 1024  # bytes that the heap may hold more after commands than before


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose board runs the page's application."""
    [application] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    with Installation(tmp_path_factory.mktemp("commands") / "place", broker="mosquitto") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.put_application(application)
        made.build("1.0.0", 1)
        board = made.add_board(DEVICE)
        made.flash(board, DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", 90)
        yield made


def begin(place: Installation, opcode: str, **arguments: Any) -> dict[str, Any]:
    """A command on its way, as the server tells it."""
    sender = send.Sender(place.api, [place.key("command")])
    return sender.send(place.api.device(DEVICE), send.Request(opcode, arguments))


def ask(place: Installation, opcode: str, **arguments: Any) -> dict[str, Any]:
    """A command at its end."""
    return list(send.follow(place.api, begin(place, opcode, **arguments), 60))[-1]


def test_the_page_s_application(place: Installation) -> None:
    told = ask(place, "valve.set", percent=40)
    assert told["outcome"] == "done" and told["result"]["answer"] == {"before": 0, "percent": 40}
    told = ask(place, "valve.set", percent=101)
    assert told["why"] == "arguments: percent is 101; it must be a whole number from 0 to 100"
    assert told["why"] in PAGE.read_text()
    offered = ask(place, "ops")["result"]["answer"]
    assert offered["valve.history"] == [1, 10, False, {"lines": ["int", 1, 1000, 10]}]
    told = ask(place, "valve.history", lines=500)
    assert told["outcome"] == "done"
    assert told["output"] == "".join(f"{n}: 40 %\n" for n in range(500))


def test_over_its_limits(place: Installation) -> None:
    assert ask(place, "valve.set", percent=0)["outcome"] == "done"
    told = ask(place, "valve.set", percent=90, slowly=True)  # takes 18 s
    assert (told["outcome"], told["why"]) == ("failed", "time: it took longer than 10 s")
    before = ask(place, "valve.set", percent=0)["result"]["answer"]["before"]
    assert 10 <= before <= 50  # it stopped where it was


def test_commands_leave_the_heap_as_it_was(place: Installation) -> None:
    used = [ask(place, "info")["result"]["answer"]["heap_used"] for _ in range(3)]
    assert ask(place, "valve.history", lines=300)["outcome"] == "done"
    after = min(ask(place, "info")["result"]["answer"]["heap_used"] for _ in range(3))
    print(f"heap at rest while a command is carried out: {used} B, after long output {after} B")
    assert after <= min(used) + AT_REST


def test_the_power_goes_in_the_middle(place: Installation) -> None:
    """It is answered for after the reset, and not begun again."""
    assert ask(place, "valve.set", percent=0)["outcome"] == "done"
    [board] = place.boards
    mark = len(board.lines)
    told = begin(place, "valve.set", percent=40, slowly=True)
    board.wait_line("command valve.set", 30, mark)
    time.sleep(1)  # it takes eight
    board.power_cut()
    board.power_on()
    place.wait_running(DEVICE, "1.0.0", 90)
    told = list(send.follow(place.api, told, 90))[-1]
    assert told["outcome"] == "failed"
    assert told["why"] == "interrupted by a reset (power-on) before it was answered"
    assert ask(place, "valve.set", percent=1)["result"]["answer"] == {"before": 0, "percent": 1}
