"""`tidegate completion`: what shells load, and what they get when somebody presses the key."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Cli = Callable[..., Result]
PROGRAM = Path(sys.executable).with_name("tidegate")


@pytest.mark.parametrize(
    ("words", "found"),
    (
        ("tidegate rol", ["rollout"]),
        ("tidegate comp", ["completion"]),
        ("tidegate completion ", ["bash", "fish", "zsh"]),
        ("tidegate lock --up", ["--update"]),
        ("tidegate --ver", ["--version"]),
    ),
)
def test_bash_completes(cli: Cli, tmp_path: Path, words: str, found: list[str]) -> None:
    """The script, loaded by a real bash, which has `tidegate` on its path."""
    script = tmp_path / "tidegate.bash"
    script.write_text(cli("completion", "bash").stdout)
    typed = words.split(" ")
    array = " ".join(f"'{word}'" for word in typed)
    line = f"COMP_WORDS=({array}); COMP_CWORD={len(typed) - 1}; _tidegate_completion tidegate"
    program = f". {script}; {line}; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", f"set -e; {program}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"},
        check=True,
    )
    assert done.stdout.split() == found, done.stderr


@pytest.mark.parametrize(("shell", "word"), (("zsh", "compdef"), ("fish", "complete --no-files --command tidegate")))
def test_scripts_of_other_shells(cli: Cli, shell: str, word: str) -> None:
    done = cli("completion", shell)
    assert done.exit_code == 0 and word in done.stdout and "_TIDEGATE_COMPLETE" in done.stdout
    assert cli("completion", "csh").exit_code == 2
