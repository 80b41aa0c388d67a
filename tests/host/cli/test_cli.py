"""The command line as a whole: every command explains itself, and errors are one line with the right exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path

import click
import pytest
from click.testing import Result
from projects import ROOT

from tidegate.cli import Commands, _command_output, main
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.trust import store as trust_store

Cli = Callable[..., Result]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below `group`, with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(main))
# Those of other packages, which have tests of their own.
OURS = {words: command for words, command in ALL.items() if command.callback.__module__.startswith("tidegate.cli")}


def test_all_commands_are_there() -> None:
    assert {
        *(("key", "new"), ("key", "show"), ("trust", "new"), ("trust", "show")),
        *(("release", verb) for verb in ("build", "rollback", "sign", "verify", "inspect", "publish")),
        *(("data", verb) for verb in ("build", "sign", "publish")),
        *(("delta", verb) for verb in ("make", "apply", "info")),
        *(("device", verb) for verb in ("list", "show", "add")),
        *(("cmd", "send"), ("alarms", "list"), ("emulate",), ("flash",)),
    } <= set(OURS)


def test_commands_of_other_packages_join() -> None:
    for point in entry_points(group="tidegate.commands"):
        assert isinstance(main.get_command(click.Context(main), point.name), click.Command)


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_every_command_has_help_with_an_example(cli: Cli, words: tuple[str, ...]) -> None:
    result = cli(*words, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"tidegate {' '.join(words)}" in result.stdout.partition("Examples:")[2]
    for parameter in OURS[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} is not explained"


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_every_command_is_tested(words: tuple[str, ...]) -> None:
    """Some test must run it: a command no test has ever run does not ship."""
    pattern = ", ".join(f'"{word}"' for word in words)
    sources = [path.read_text() for path in (ROOT / "tests").rglob("*.py")] + [
        path.read_text() for path in (ROOT / "tools").rglob("*.py")
    ]
    assert any(pattern in source for source in sources), pattern


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_unknown_options_are_wrong_usage(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli(*words, "--nonesuch").exit_code == 2


def test_wrong_usage(cli: Cli) -> None:
    for arguments in ((), ("nonesuch",), ("key",), ("release", "build"), ("delta", "make", "one")):
        result = cli(*arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("word", "meant"), (("relase", "release"), ("devices", "device"), ("serv", "serve"), ("tst", "test"))
)
def test_a_misspelt_command_is_guessed(cli: Cli, word: str, meant: str) -> None:
    done = cli(word, "--json")
    assert done.exit_code == 2 and f"No such command '{word}'. Did you mean {meant}" in done.stderr
    assert "Did you mean" not in cli("xyzzy").stderr


def test_errors_name_the_remedy(cli: Cli, tmp_path: Path) -> None:
    result = cli("key", "show", tmp_path / "nothing")
    assert result.exit_code == 1
    assert result.stderr == f"Error: key file {tmp_path}/nothing does not exist\n  Check the path.\n"
    assert result.stdout == ""


@pytest.mark.parametrize("address", ["http://h:port", "http://[::1", "http://h\x01", ""])
def test_an_address_that_is_none_is_named(cli: Cli, tmp_path: Path, address: str) -> None:
    (tmp_path / "token").write_text("tg_x")
    result = cli("device", "list", "--server", address, "--token-file", tmp_path / "token")
    assert result.exit_code == 1 and "is not an HTTP address" in result.stderr and "127.0.0.1" in result.stderr


def test_what_is_nested_too_deeply_is_no_json(cli: Cli, tmp_path: Path) -> None:
    deep = "[" * 4000
    (tmp_path / "key.jwk").write_text(deep)
    (tmp_path / "release.json").write_text(deep)
    for words in (("key", "show", tmp_path / "key.jwk"), ("release", "inspect", tmp_path)):
        result = cli(*words)
        assert result.exit_code == 1 and result.stderr.startswith("Error: "), result.stderr
    assert _command_output.argument(f"text={deep}") == ("text", deep)


def test_errors_in_json(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "patch").write_bytes(b"no")
    result = cli("delta", "info", tmp_path / "patch", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    told = json.loads(result.stderr)
    assert told["reason"] == "patch" and "0xD0" in told["error"] and told["remedy"]


def test_a_full_disk_is_an_error_with_a_name(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 100)
    result = cli("delta", "make", tmp_path / "a", tmp_path / "a", "/dev/full/x")
    assert result.exit_code == 1
    assert "/dev/full/x" in result.stderr


def test_help_loads_no_command_and_says_what_each_says_of_itself(cli: Cli) -> None:
    """Loading all for one line each took ten times as long as `tidegate --help` takes."""
    program = "import sys; sys.argv[0] = 'tidegate'; from tidegate.__main__ import main\ntry: main()\nfinally: "
    program += "print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True)
    loaded = {where.split(":")[0] for where in (*_built_in().values(), *(point.value for point in _joined()))}
    assert len(loaded) > 20 and not loaded & set(done.stderr.split())
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        assert main._short_help(context, name, 70) == command.get_short_help_str(70)


def test_verbs_of_other_tools(cli: Cli) -> None:
    for words, here in (("device delete", "'revoke' or 'unclaim'"), ("cmd get", "'show'"), ("key create", "'new'")):
        done = cli(*words.split())
        assert done.exit_code == 2 and done.stderr.endswith(f"Did you mean {here}?\n"), done.stderr
    assert "Did you mean" not in cli("key", "delete").stderr


def test_a_broken_plugin_does_not_break_the_others(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_built_in(), "lost", "tidegate.cli.nonesuch:lost")
    assert "cannot be loaded" in cli("--help").stdout
    result = cli("lost", "--whatever", "x")
    assert result.exit_code == 1 and "pip install" in result.stderr
    assert isinstance(main, Commands)


def _joined() -> EntryPoints:
    return entry_points(group="tidegate.commands")


def _built_in() -> dict[str, str]:
    from tidegate import cli as package

    return package._BUILT_IN


# ---------------------------------------------------------------- files


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_atomic(target, b"before")

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tidegate.files.os.fsync", fail)
    with pytest.raises(TidegateError, match="No space left"):
        write_atomic(target, b"after")
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_reads_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(11))
    assert len(read_limited(tmp_path / "file", 11, "thing")) == 11
    with pytest.raises(TidegateError, match="thing .* is longer than 10 bytes"):
        read_limited(tmp_path / "file", 10, "thing")
    with pytest.raises(TidegateError, match="is a folder"):
        read_limited(tmp_path, 10, "thing")


def test_a_key_in_place_of_a_trust_store_is_named(key_folder: Path) -> None:
    with pytest.raises(TidegateError, match="release.jwk is JSON, as keys are, and not a trust store") as found:
        trust_store.load(key_folder / "release.jwk")
    assert "tidegate trust new --out trust.cbor" in found.value.remedy
