"""`tidegate new`: a project of one's own."""

from __future__ import annotations

import re
import shlex
import sys
import unicodedata
from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import FOLDER, emit, json_option, say
from tidegate.errors import TidegateError
from tidegate.names import PRODUCT, VENDOR, Name
from tidegate.project import create as projects

DEFAULT_BOARD = "qemu_mps2"


@click.command(
    epilog="""\b
Examples:
  tidegate new my-gateway
  tidegate new my-gateway --product acme-cooler --vendor acme.example --board qemu_mps2 --board rpi_pico_w"""
)
@click.argument("folder", metavar="NAME", type=FOLDER)
@click.option("--product", help="What devices are; default: the folder's name.")
@click.option("--vendor", help="A domain of yours, such as acme.example.")
@click.option("--board", "board_names", multiple=True, help="Board to build for; repeat it.")
@json_option
def new(folder: Path, product: str | None, vendor: str | None, board_names: tuple[str, ...], as_json: bool) -> None:
    """Make a project in the new folder NAME: an application of twenty lines, a test of it, tidegate.toml, a workflow.

    What is not given is asked, on a terminal.
    """
    projects.check_new(folder)
    asks = sys.stdin.isatty() and not as_json
    default = projects.default_product(folder)
    product = product or (_ask("Product", PRODUCT, default) if asks else default)
    vendor = vendor or (_ask("Vendor, a domain of yours", VENDOR, "") if asks else "")
    if not product:
        raise TidegateError(
            f"the folder's name cannot be the product's, there is no terminal to ask at, and nothing was made: "
            f"{PRODUCT.refusal(folder.name)}",
            f"Add --product{'' if vendor else ' and --vendor'}, such as: tidegate new {shlex.quote(str(folder))} "
            f"--product {_like(folder.name)} --vendor {vendor or 'acme.example'}",
        )
    if not vendor:
        raise TidegateError(
            "there is no terminal to ask at, and nothing was made",
            "Add --vendor DOMAIN",
        )
    if not board_names:
        board_names = _ask_boards() if asks else (DEFAULT_BOARD,)
    made = projects.create(folder, projects.Answers(product, vendor, tuple(dict.fromkeys(board_names))))
    facts: dict[str, Any] = {"folder": str(folder), "product": made.product, "vendor": made.vendor}

    def show(_: Any) -> None:
        say(f"{folder}: {made.product} by {made.vendor}, for {', '.join(made.boards)}")
        say(f"Now: cd {shlex.quote(str(folder))} && tidegate dev")
        say("`tidegate doctor` says what this machine lacks for it.")

    emit({**facts, "boards": list(made.boards)}, as_json, show)


def _like(text: str) -> str:
    """A name for a product that is as close to `text` as may be."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()  # u for ü
    found = re.sub("[^a-z0-9]+", "-", plain.lower()).strip("-")
    return found if PRODUCT.fits(found) else "my-gateway"


def _ask(what: str, name: Name, default: str) -> str:
    def check(text: str) -> str:
        if not name.fits(text):
            raise click.UsageError(f"{name.refusal(text)}. {name.remedy}")
        return text

    return str(click.prompt(what, default=default or None, value_proc=check))


def _ask_boards() -> tuple[str, ...]:
    known = projects.known_boards()

    def check(text: str) -> str:
        unknown = [name for name in text.replace(",", " ").split() if name not in known]
        if unknown or not text.strip():
            raise click.UsageError(f"there is no board {' '.join(unknown) or 'without a name'}")
        return text

    say(f"Boards: {', '.join(known)}")
    return tuple(str(click.prompt("Boards", default=DEFAULT_BOARD, value_proc=check)).replace(",", " ").split())
