"""A line of progress for each of several boards that are flashed at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tidegate.cli._common import cell
from tidegate.visible import visible

Tell = Callable[[str, str, int, int], None]  # name, what, done, total


@contextmanager
def lines(names: Sequence[str], *, quiet: bool = False) -> Iterator[Tell]:
    """Bars on stderr, where that is a terminal; the caller tells (name, what, done, total), from any thread."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=quiet or not sys.stderr.isatty(),
    )
    with bars:
        tasks = {name: bars.add_task(cell(visible(name)), total=None, what="") for name in names}

        def tell(name: str, what: str, done: int, total: int) -> None:
            bars.update(tasks[name], completed=done, total=total, what=cell(visible(what)[:40]))

        yield tell
