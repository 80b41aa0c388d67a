"""Documentation shows only commands that work: this runs them.

Ground: bash on this machine, a real server, the emulated Cortex-M3.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import click
import pytest
from patience import limit

from tidegate.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
from ports import free_port  # noqa: E402

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "boards").glob("*/*.md")),
]
CODE = re.compile(r"`[^`\n]+`|^```sh\n.*?^```", re.DOTALL | re.MULTILINE)
TIMEOUT_S = limit(180)


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def run_page(name: str | Path, folder: Path) -> str:
    """What the commands of docs/<name> (or of another page) print, from top to bottom in a folder of their own, on free
    ports, under `set -e`. What they leave running ends with them."""
    script = "set -euo pipefail\n" + "\n".join(blocks(ROOT / "docs" / name))
    script = re.sub(r"/tmp/(gates|trust)\b", str(folder / "place"), script)
    for port in ("8080", "1883"):
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    with (folder / "printed").open("w") as out, (folder / "complaints").open("w") as err:
        shell = subprocess.Popen(["bash", "-c", script], stdout=out, stderr=err, cwd=ROOT, start_new_session=True)
        try:
            code = shell.wait(TIMEOUT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    printed = (folder / "printed").read_text()
    assert code == 0, printed[-3000:] + (folder / "complaints").read_text()[-3000:]
    return printed


@pytest.mark.board
@pytest.mark.server
def test_the_walkthrough_from_top_to_bottom(tmp_path: Path) -> None:
    printed = run_page("walkthrough.md", tmp_path)
    for expected in ("gate-1 is registered", "slot A boots", "1.0.1", "gate-1 answers info", "There are no alarms"):
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"


@pytest.mark.built
def test_the_page_on_projects_from_top_to_bottom(tmp_path: Path) -> None:
    printed = run_page("project.md", tmp_path)
    for expected in (
        "4 passed, 0 failed",
        "my-gateway 0.1.0, unsigned",
        "gate/",
        "patch from 0.1.0",
        "my-gateway 0.2.0, signed",
    ):
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"


@pytest.mark.board
@pytest.mark.server
def test_the_page_on_enrolment_from_top_to_bottom(tmp_path: Path) -> None:
    printed = run_page("enrolment.md", tmp_path)
    for expected in ("valid for one board until", "answers info", "is called Pump.7", "is revoked", "is on the board"):
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"


@pytest.mark.board
@pytest.mark.server
def test_the_page_on_trust_from_top_to_bottom(tmp_path: Path) -> None:
    printed = run_page("trust.md", tmp_path)
    for version in range(2, 6):
        assert f"boards with version {version - 1} will accept version {version}" in printed
        assert f"trust store version {version} is published" in printed


@pytest.mark.board
@pytest.mark.server
def test_the_page_on_diagnostics_from_top_to_bottom(tmp_path: Path) -> None:
    printed = run_page("diagnostics.md", tmp_path)
    for expected in (
        "ZeroDivisionError",
        "source supply: ZeroDivisionError",
        "config.json",
        "reset cause",
        "largest",
        "good",
    ):
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"


@pytest.mark.board
@pytest.mark.server
def test_the_page_on_commands_after_the_walkthrough(tmp_path: Path) -> None:
    begun = (ROOT / "docs" / "walkthrough.md").read_text().partition("## An update")[0]
    (tmp_path / "begun.md").write_text(begun + (ROOT / "docs" / "remote-commands.md").read_text())
    printed = run_page(tmp_path / "begun.md", tmp_path)
    for expected in (
        "log.tail",
        "gate-1 answers info",
        "gate-1 answers reboot",
        "1 of 1 done",
        "is cancelled",
        "[None]",
    ):
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"


def test_make_targets_that_pages_name_exist() -> None:
    for page in PAGES:
        code = "\n".join(CODE.findall(page.read_text()))
        for target in set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", code, re.MULTILINE)):
            done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, f"{page.name} names `make {target}`: {done.stderr}"


def every_command(group: click.Group = main, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    found: dict[tuple[str, ...], click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found[(*path, name)] = command
        if isinstance(command, click.Group):
            found |= every_command(command, (*path, name))
    return found


COMMANDS = every_command()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_examples(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    text = command.get_help(click.Context(command, info_name="tidegate " + " ".join(path)))
    assert command.help, "says what it does"
    if not isinstance(command, click.Group):
        assert "Example" in text and "tidegate " in text.split("Example")[1], text


def mentioned() -> list[tuple[str, str]]:
    """Every `tidegate ...` in code of the pages and in --help, with where it stands."""
    found = set()
    for page in PAGES:
        for block in blocks(page):
            for line in block.replace("\\\n", " ").splitlines():
                commands = re.findall(r"(?:^|[|;&(]\s*|do )(tidegate [^|;&<>#)]+)", line.strip())
                found |= {(page.name, words) for words in commands}
        found |= {(page.name, words) for words in re.findall(r"`(tidegate [^`\n]+)`", page.read_text())}
    for path, command in COMMANDS.items():
        for text in (command.epilog or "", command.help or ""):
            lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
            found |= {("--help of " + " ".join(path), line) for line in lines if line.startswith("tidegate ")}
    return sorted(found)


@pytest.mark.parametrize(("where", "words"), mentioned())
def test_commands_in_pages_and_help_exist_with_their_options(where: str, words: str) -> None:
    parts = words.split()[1:]
    path: tuple[str, ...] = ()
    while parts and (*path, parts[0]) in COMMANDS:
        path = (*path, parts.pop(0))
    if not path and (not parts or not re.match(r"[a-z]+$", parts[0])):
        return  # "tidegate ..." or the like
    assert path, f"{where}: there is no command `{words}`"
    options = {option for param in COMMANDS[path].params for option in (*param.opts, *param.secondary_opts)} | {
        "--help"
    }
    for part in parts:
        if part.startswith("--") and len(part) > 2:
            assert part.split("=")[0] in options, f"{where}: {words!r} has no option {part}"


def test_pages_link_only_to_what_is_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


@pytest.mark.board
@pytest.mark.server
def test_an_evening_in_the_field_from_top_to_bottom(tmp_path: Path) -> None:
    printed = run_page("field.md", tmp_path)
    for expected in ("slot A boots", "ZeroDivisionError", "1.0.1", "confirmed", "temperature"):
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"
