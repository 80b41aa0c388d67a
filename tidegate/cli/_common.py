"""Shared by all commands: options, output for people and programs, progress, errors."""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tidegate.cli._table import GAP, Column, age, fitting
from tidegate.client import profiles
from tidegate.client.tokens import read_token
from tidegate.errors import TidegateError
from tidegate.names import DEFAULT_PRODUCT
from tidegate.visible import visible, visible_lines, visible_value
from tidegate.wire.messages import WAITING

# httpx and rich are loaded by what connects and draws: they take longer than many a command that does neither.
if TYPE_CHECKING:
    from rich.table import Table

    from tidegate.client.server import Server

F = TypeVar("F", bound=Callable[..., Any])
Tell = Callable[[int, int, str], None]


class _Named(click.Path):
    """A path of at least one character: Path("") would be the folder that one is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("the name is empty", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A number within bounds; NaN compares with none of them, so click takes it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value!r} is not a number", param, ctx)
        return found


FILE = _Named(path_type=Path, dir_okay=False)
FOLDER = _Named(path_type=Path, file_okay=False)
ANY_PATH = _Named(path_type=Path)

_AS_JSON = "tidegate.json"
_INSECURE = "tidegate.insecure"
_PROFILE = "tidegate.profile"
LOCAL = "http://127.0.0.1:8080"


class Failure(click.ClickException):
    """One line for what is wrong, one for the remedy; with --json the same as an object. Exit code 1."""

    exit_code = 1

    def __init__(self, ctx: click.Context, message: str, remedy: str = "", reason: str = ""):
        super().__init__(message)
        self._json = ctx.meta.get(_AS_JSON, False)
        self._remedy = remedy
        self._reason = reason

    def show(self, file: Any = None) -> None:
        if self._json:
            facts = {"error": self.message, "remedy": self._remedy, "reason": self._reason}
            complain(in_json({name: text for name, text in facts.items() if text}))
            return
        complain(f"Error: {self.message}")
        if self._remedy:
            complain(f"  {self._remedy}{'' if self._remedy.endswith(('.', '?')) else '.'}")


def json_option(command: F) -> F:
    """--json, as `as_json`: one JSON value on stdout, errors as JSON on stderr."""

    def remember(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
        ctx.meta[_AS_JSON] = value
        return value

    option = click.option("--json", "as_json", is_flag=True, callback=remember, is_eager=True, help="Answer in JSON.")
    return option(command)


def server_option(text: str) -> Callable[[F], F]:
    """--server, as `server`, and --profile, whose server it is by default; `text` is the help of --server."""
    option = click.option(
        "--server",
        envvar="TIDEGATE_SERVER",
        default=_server_here,
        show_default=f"the profile's, else {LOCAL}",
        show_envvar=True,
        metavar="URL",
        help=text,
    )
    return lambda command: profile_option(option(command))


def _server_here() -> str:
    """The server of the profile that counts, else the one that `tidegate serve` is by itself."""
    profile = profiles.read().find(_profile_name())
    return profile.server if profile else LOCAL


def profile_option(command: F) -> F:
    """--profile, which `connect` and the default of --server know of."""

    def remember(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        ctx.meta[_PROFILE] = value

    return click.option(
        "--profile",
        envvar="TIDEGATE_PROFILE",
        is_eager=True,  # before the default of --server
        expose_value=False,
        callback=remember,
        help="Server and token of this `tidegate login`, where none is given. Default: the last one.",
    )(command)


def _profile_name() -> str | None:
    context = click.get_current_context(silent=True)
    name: str | None = context.meta.get(_PROFILE) if context else None
    return name


def server_options(command: F) -> F:
    """--server and --token-file, as `server` and `token_file`; open them with `connect`, which knows --insecure."""
    for option in (
        insecure_option("the token"),
        click.option(
            "--token-file",
            envvar="TIDEGATE_TOKEN_FILE",
            type=FILE,
            show_envvar=True,
            help="File with the bearer token.",
        ),
        server_option("The server's address."),
    ):
        command = option(command)
    return command


def insecure_option(secret: str) -> Callable[[F], F]:
    """--insecure, which `is_insecure` gives to whoever opens a connection."""

    def remember(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        ctx.meta[_INSECURE] = value

    return click.option(
        "--insecure",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help=f"Send {secret} without TLS to another machine; remembered for this address.",
    )


def is_insecure() -> bool:
    """Whether this command was given --insecure."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(_INSECURE))


def connect(server: str, token_file: Path | None) -> Server:
    from tidegate.client.server import Server

    return Server(server, token_for(server, token_file), insecure=is_insecure())


def has_token(server: str, token_file: Path | None) -> bool:
    return token_file is not None or profiles.read().token_for(server, _profile_name()) is not None


def token_for(server: str, token_file: Path | None) -> str:
    """The token in the file, else that of the profile whose server this is; TidegateError where neither says one."""
    if token_file is None and (token := profiles.read().token_for(server, _profile_name())):
        return token
    return read_token(token_file)


def product_option(text: str) -> Callable[[F], F]:
    """--product, as `product`: of the project around here unless it is given. `text` is its help."""
    where = f"the project's here, else {DEFAULT_PRODUCT}"
    return click.option("--product", default=_product_here, show_default=where, help=text)


def _product_here() -> str:
    from tidegate import project  # not above: most commands need none

    return project.product_here()


def board_here() -> str:
    """The board of the project around here, where no --board was given; wrong usage unless it has just one."""
    from tidegate import project  # as above

    try:
        names = project.find_project().boards
    except TidegateError:
        names = ()
    if len(names) == 1:
        return names[0]
    several = f" The project names {', '.join(names)}." if names else ""
    raise click.UsageError(f"Missing option '--board'.{several}")


def source_option(text: str = "Project to build from, in place of the one around here.") -> Callable[[F], F]:
    """--source, as `source`; `project.sources_in` reads it."""
    return click.option("--source", type=FOLDER, envvar="TIDEGATE_SOURCE", show_envvar=True, help=text)


hold_option = click.option("--hold", is_flag=True, help="Not for all boards yet: rollouts in waves hand it out.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal (CI).")


def confirm(question: str, yes: bool, as_json: bool) -> None:
    """Ask before something changes. Without a terminal nobody can answer: then --yes is needed, or nothing happens."""
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise TidegateError("there is no terminal to ask at, and nothing was changed", "To go ahead, add --yes")
    click.confirm(visible(question), abort=True, err=True)


def emit(value: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print `value` as JSON, or for people by `show`, which gets it without control characters (tidegate.visible)."""
    if as_json:
        click.echo(in_json(value, indent=2))
    else:
        show(visible_value(value))


def in_json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON in ASCII without control characters, which every terminal and every reader takes."""
    return json.dumps(value, indent=indent, allow_nan=False).replace("\x7f", "\\u007f")


def say(text: str, newline: bool = True) -> None:
    """One text for people on stdout; of control characters only its newlines and tabs reach a terminal."""
    click.echo(visible_lines(text), nl=newline)


def complain(text: str) -> None:
    """The same on stderr."""
    click.echo(visible_lines(text), err=True)


def facts(value: Mapping[str, Any], title: str = "", verbatim: bool = False) -> None:
    """Print names and values in two columns; nested values below their name, indented.

    verbatim: names are shown as they are, because somebody may have to type them; others become words.
    """
    from rich.table import Table

    if title:
        say(title)  # not the table's: that would be folded at the table's width
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    _rows(table, value, 0, verbatim)
    _print(table)


def rows(items: Sequence[Mapping[str, Any]], columns: Mapping[str, str], none: str) -> None:
    """Print `items` as a table of `columns` (name in the item -> heading), or the sentence `none`.

    On a terminal times are ages, and columns that do not fit are named below; elsewhere everything is there.
    """
    from rich.console import Console
    from rich.table import Table

    if not items:
        say(none)
        return
    on_terminal = sys.stdout.isatty()
    shown = [
        Column(
            visible(heading),
            tuple(
                visible_lines(age(value) if on_terminal else value) for value in (text(one.get(name)) for one in items)
            ),
        )
        for name, heading in columns.items()
    ]
    left_out: list[str] = []
    if on_terminal:
        shown, left_out = fitting(shown, Console().width)
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold")
    for column in shown:
        table.add_column(column.heading, overflow="fold", no_wrap=on_terminal and not column.folds)
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(_escaped, cells))
    _print(table)
    if left_out:
        complain(f"Not shown for want of room: {', '.join(left_out)}. A wider terminal shows them, and --json has all.")


def update_phase(phase: str | None) -> str | None:
    """The phase of an update in words."""
    return WAITING if phase == "waiting" else phase


def cell(text: str) -> str:
    """A text for a table: nothing of it is markup, and of control characters only newlines and tabs are left."""
    return _escaped(visible_lines(text))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, float):
        return _shortest(value)
    return str(value)


def _shortest(value: float) -> str:
    """The shortest number that is `value` again in the precision it has: boards measure in single precision, whose
    22.1 is 22.100000381469727 here."""
    with suppress(OverflowError):
        if math.isfinite(value) and _single(value) == value:
            return str(
                next(short for digits in range(1, 10) if _single(short := float(f"{value:.{digits}g}")) == value)
            )
    return str(value)


def _single(value: float) -> float:
    found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return found


def _print(table: Table) -> None:
    from rich.console import Console

    # Not a terminal: no line is broken. Rich pads cells; nobody wants that in a pipe.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Tell]:
    """A bar on stderr while something long runs; the caller tells (done, total, detail)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # answers go to stdout even while the bar is on a terminal's stderr
        redirect_stderr=False,
        disable=quiet or not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(cell(visible(what)), total=None, detail="")

        def tell(done: int, total: int, detail: str) -> None:
            bar.update(task, completed=done, total=total, detail=cell(visible(detail)[:40]))

        yield tell


def _rows(table: Table, value: Mapping[str, Any], depth: int, verbatim: bool) -> None:
    for name, item in value.items():
        words = name.replace("_", " ") if name.isidentifier() and not verbatim else name
        label = "  " * depth + cell(visible(words))
        if isinstance(item, Mapping):
            table.add_row(label, "")
            _rows(table, item, depth + 1, verbatim)
        elif isinstance(item, list) and item and all(isinstance(entry, Mapping) for entry in item):
            for number, entry in enumerate(item, 1):
                table.add_row(f"{label}, {number} of {len(item)}", "")
                _rows(table, entry, depth + 1, verbatim)
        else:
            table.add_row(label, cell(text(item)))
