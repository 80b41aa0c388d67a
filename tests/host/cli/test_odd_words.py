"""Words of a command line that fit no option: each is one line, and nothing was begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from tidegate.cli import main

Cli = Callable[..., Result]


@pytest.mark.parametrize("option", ["--out=", "--out", "--proof="])
def test_an_empty_name_is_not_the_folder_one_is_in(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("cmd", "show", "00" * 8) if option == "--proof=" else ("key", "new", "--role", "command")
    done = cli(*words, option, *(() if option.endswith("=") else ("",)))
    assert done.exit_code == 2 and "the name is empty" in done.stderr
    assert not list(tmp_path.iterdir())


def test_bytes_that_are_not_utf_8_are_named(cli: Cli, tmp_path: Path) -> None:
    name = "\udcff\udcfe"  # what Python makes of them
    done = cli("tls", "authority", "--name", name, "--dir", tmp_path / "ca")
    assert done.exit_code == 1 and "is not UTF-8" in done.stderr and "fault of its own" not in done.stderr


def test_no_range_takes_a_number_that_is_none() -> None:
    found = 0
    for group in _groups(main):
        for command in group.commands.values():
            for option in (one for one in command.params if isinstance(one.type, click.FloatRange)):
                found += 1
                for word in ("nan", "NaN", "-nan", "1e999"):
                    with pytest.raises(click.BadParameter):
                        option.type.convert(word, option, click.Context(command))
    assert found >= 4


def _groups(top: click.Group) -> list[click.Group]:
    context = click.Context(top)
    known = {name: top.get_command(context, name) for name in top.list_commands(context)}
    below = [one for one in known.values() if isinstance(one, click.Group)]
    return [click.Group(commands={name: one for name, one in known.items() if one is not None}), *below]
