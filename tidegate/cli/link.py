"""`tidegate link`: boards without a network speak with their server through this machine and a serial port."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import FILE, complain, in_json, json_option, say
from tidegate.errors import TidegateError
from tidegate.flash import ports
from tidegate.link import addresses
from tidegate.link.run import link as link_boards

_TOLD = {
    "waiting": "the port is open; waiting for the board",
    "linked": "linked",
    "lost": "link lost: {why}",
    "refused": "not linked: {why}",
    "no-port": "{why}; trying again",
    "connecting": "connects with {host}:{port}",
    "not-allowed": "wants {host}:{port}, which is not allowed; if it should, add --to {host}:{port}",
    "closed": "{host}:{port} {why}, {up} bytes up, {down} down",
    "traffic": "{up} bytes up, {down} down so far",
}


@click.command(
    epilog="""\b
PORT is a device name as `tidegate flash` takes it: a0 (/dev/ttyACM0), u0 (/dev/ttyUSB0), id:SERIAL, or a path. The
board's settings say "uplink": "usb", and name broker and server as this machine reaches them: see
`tidegate docs usb-uplink`.

\b
Examples:
  tidegate link a0 --config gate-7.config.json
  tidegate link /dev/ttyACM0 --server http://server.example:8080
  tidegate link a0 a1 --to broker.example:8883 --to server.example:443 --quiet
  tidegate link --all --config gate-7.config.json --json"""
)
@click.argument("names", metavar="[PORT]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every serial port on USB that is there now.")
@click.option(
    "--config",
    "configs",
    type=FILE,
    multiple=True,
    help="A board's settings, as flashed: it may reach the broker and the servers in them. May be given again.",
)
@click.option(
    "--server",
    "servers",
    metavar="URL",
    multiple=True,
    help="Boards may reach this server, and a broker beside it at ports 1883 and 8883. May be given again.",
)
@click.option("--to", "places", metavar="HOST:PORT", multiple=True, help="Boards may reach this. May be given again.")
@click.option("--quiet", is_flag=True, help="Do not show what the boards print.")
@json_option
def link(
    names: tuple[str, ...],
    every: bool,
    configs: tuple[Path, ...],
    servers: tuple[str, ...],
    places: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Connect boards at serial ports with their broker and server, until Ctrl-C.

    What goes through is the board's own session, with its own signatures, credentials and TLS: this machine needs no
    key and no token. Boards reach nothing but what --config, --server and --to name. An unplugged board is linked
    again when it is back. With --json each event is an object on a line of its own.
    """
    if every == bool(names):
        raise click.UsageError("give ports, or --all")
    found = [place for path in configs for place in addresses.of_config(path)]
    found += [place for url in servers for place in addresses.of_server(url)]
    found += [addresses.address(text) for text in places]
    if not found:
        raise click.UsageError("say what boards may reach: --config, --server or --to")
    boards = ports.on_usb() if every else ports.named(names)
    if not boards:
        raise TidegateError("there is no serial port on USB", "Plug the boards in, or name their ports")
    allowed = addresses.Allowed(found)

    def event(port: str, what: str, facts: Mapping[str, Any]) -> None:
        if what == "printed" and quiet:
            return
        if as_json:
            say(in_json({"port": port, "event": what, **facts}))
        elif what == "printed":
            say(f"{port} | {facts['line']}")
        else:
            say(f"{port}: {_TOLD[what].format(**facts)}")

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # a polite end, as with Ctrl-C
    if not as_json:
        complain(f"{len(boards)} {'port' if len(boards) == 1 else 'ports'}, to {allowed}. Ctrl-C ends it.")
    asyncio.run(link_boards(boards, allowed, event))
