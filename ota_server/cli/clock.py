"""`tidegate clock`: what the server thinks of its machine's clock, and a person's word on it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ota_server.cli._common import data_option, me
from ota_server.config import Config
from ota_server.first_start import prepare
from ota_server.security import audit
from ota_server.store import clock_record
from ota_server.store.clock import Clock, read
from tidegate.cli._common import in_json, say


@click.command()
@data_option
@click.option("--accept", is_flag=True, help="Say that the clock of this machine is right, now.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def clock(data: Path, accept: bool, as_json: bool) -> None:
    """Show whether the server trusts this machine's clock; run it on the server's machine.

    While a clock that jumped is in doubt, nothing is deleted or expired. That ends when the clock is where it should
    be, when it has run evenly for a day, or when you say that it is right.

    \b
    Examples:
      tidegate clock
      tidegate clock --accept
    """
    store = prepare(Config(data=data))
    judge = Clock()
    with store.read() as session:
        clock_record.begin(session, judge)
        known = clock_record.said_right(session, read())
    doubt = None if known else judge.doubt()
    if accept:
        with store.write() as session:
            clock_record.say_right(session, read())
            audit.record(session, me(), "clock.accept", "clock", doubt=doubt)
    store.close()
    facts: dict[str, Any] = {
        "clock": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "trusted": doubt is None,
        "doubt": doubt,
        "accepted": accept or known,
    }
    if as_json:
        say(in_json(facts))
    elif doubt is None or accept:
        say(
            f"{facts['clock']}: the clock is " + ("accepted; a running server knows in a second" if accept else "right")
        )
    else:
        say(f"{facts['clock']}: {doubt}; nothing is deleted. If it is right: tidegate clock --accept")
