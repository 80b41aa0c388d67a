"""`tidegate simulate`: a simulated fleet, to load a server with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import (
    FILE,
    complain,
    emit,
    is_insecure,
    json_option,
    progress,
    rows,
    say,
    server_options,
)
from tidegate.client.tokens import read_token
from tidegate.files import check_folder, write_atomic
from tidegate.names import DEVICE_ID
from tidegate.simulate import run as simulation
from tidegate.simulate import scenario as scenarios
from tidegate.simulate import usage
from tidegate.visible import visible

_INTERRUPTED = 130
_MOST = 99_999
_LINE = 110  # characters of the live line


@click.command(
    epilog="""\b
Examples:
  tidegate simulate --devices 50 --token-file server/admin.token
  tidegate simulate --devices 10000 --processes 2 --scenario storm.toml --pid server=4242 --out storm.json
`tidegate docs simulate` has what a scenario may say, and how to read the figures."""
)
@click.option("--devices", type=click.IntRange(1, _MOST), required=True, help="How many devices there are.")
@click.option("--scenario", "file", type=FILE, help="What happens (TOML); default: connect, and 50 packs a second.")
@click.option("--seed", type=click.IntRange(0), help="In place of the scenario's.")
@click.option("--broker", metavar="URL", help="mqtt://HOST:PORT or mqtts://; default: the server's host, usual port.")
@click.option(
    "--accounts",
    type=FILE,
    default=simulation.default_accounts(),
    show_default=True,
    help="Ids, passwords and keys of the devices (0600); those that lack are registered and added.",
)
@click.option("--prefix", default="sim", show_default=True, help="What the ids of the devices begin with.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="To run the devices in.")
@click.option("--pid", "pids", multiple=True, metavar="[NAME=]PID", help="Measure this process, too; many are allowed.")
@click.option("--trust", type=FILE, help="Trust store to verify offers with, as a board does; default: not verified.")
@click.option("--ca", type=FILE, help="Authority of the server and the broker (PEM).")
@click.option("--out", type=FILE, help="Write the figures there as JSON, too.")
@server_options
@json_option
def simulate(
    devices: int,
    file: Path | None,
    seed: int | None,
    broker: str | None,
    accounts: Path,
    prefix: str,
    processes: int,
    pids: tuple[str, ...],
    trust: Path | None,
    ca: Path | None,
    out: Path | None,
    server: str,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Let simulated devices use a server as real ones do, and measure it.

    They are registered there with a token that may do so (scope devices) and stay registered. Use it on a server of
    your own; a fleet of thousands is a load. Ctrl-C ends it with the figures so far.

    Exit code 1: something that was acknowledged was not filed, or a phase did not come to its end.
    """
    DEVICE_ID.check(f"{prefix}-{devices:05d}", "Choose another --prefix: a-z, 0-9 and -, at most 26")
    scenario = scenarios.read(file)
    if seed is not None:
        scenario = scenario.model_copy(update={"seed": seed})
    if out:
        check_folder(out)
    setting = simulation.Setting(
        server=server if "://" in server else f"http://{server}",
        token=read_token(token_file),
        devices=devices,
        accounts=accounts,
        prefix=prefix,
        processes=processes,
        broker=broker,
        ca=ca,
        trust=trust,
        insecure=is_insecure(),
        watched=dict(map(usage.parse, pids)),
    )
    live = _LiveLine(quiet=as_json)
    with progress("registering devices", quiet=as_json) as registering:
        document = simulation.run(setting, scenario, simulation.Ears(registering, live.show))
    live.end()
    if out:
        write_atomic(out, json.dumps(document, indent=2).encode() + b"\n")
    emit(document, as_json, _show)
    if document["interrupted"]:
        complain("Interrupted")
        raise SystemExit(_INTERRUPTED)
    wrong = simulation.failed(document)
    for sentence in wrong:
        complain(f"Error: {sentence}")
    if wrong:
        raise SystemExit(1)


class _LiveLine:
    """One line on stderr that is written over on a terminal; elsewhere a line every few seconds."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._count = 0

    def show(self, text: str) -> None:
        if self._quiet:
            return
        if self._terminal:
            self._print("\r" + visible(text)[:_LINE].ljust(_LINE))
        elif self._count % 20 == 0:
            complain(text)
        self._count += 1

    def end(self) -> None:
        if self._terminal and not self._quiet and self._count:
            self._print("\n")

    def _print(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _show(document: dict[str, Any]) -> None:
    for heading, found, columns in simulation.results.tables(document):
        say(heading)
        rows(found, columns, "")
        say("")
    filed = document["filed"]
    if filed and "lost" in filed:
        say(
            f"Of {filed['devices_checked']} devices looked at, {filed['acknowledged']} packs were acknowledged,"
            f" {filed['filed']} filed, {filed['lost']} lost."
        )
