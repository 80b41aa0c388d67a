"""`tidegate completion`: the script that lets a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tidegate.cli._common import say

SHELLS = ("bash", "fish", "zsh")
VARIABLE = "_TIDEGATE_COMPLETE"  # click's, by the program's name


@click.command(
    epilog="""\b
Examples:
  tidegate completion bash > ~/.local/share/bash-completion/completions/tidegate
  tidegate completion fish > ~/.config/fish/completions/tidegate.fish
  source <(tidegate completion zsh)"""
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and files in SHELL, for the shell to load."""
    found = get_completion_class(shell)
    assert found
    made = found(click.get_current_context().find_root().command, {}, "tidegate", VARIABLE)
    say(made.source_template % made.source_vars())  # source() would run bash to ask for its version
