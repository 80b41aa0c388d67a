"""The command line: `tidegate GROUP COMMAND`. One module a group, loaded when it is used.

Commands of other packages join through the entry-point group "tidegate.commands"; that is how `serve`
and `token` come from ota_server without this package knowing it.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

import click

import tidegate
from tidegate.cli._common import Failure
from tidegate.errors import TidegateError

_BUILT_IN = {
    "alarms": "tidegate.cli.alarms:alarms",
    "apply": "tidegate.cli.fleet:apply",
    "cmd": "tidegate.cli.cmd:cmd",
    "data": "tidegate.cli.data:data",
    "delta": "tidegate.cli.delta:delta",
    "device": "tidegate.cli.device:device",
    "diff": "tidegate.cli.fleet:diff",
    "emulate": "tidegate.cli.emulate:emulate",
    "flash": "tidegate.cli.flash:flash",
    "group": "tidegate.cli.group:group",
    "key": "tidegate.cli.key:key",
    "release": "tidegate.cli.release:release",
    "rollout": "tidegate.cli.rollout:rollout",
    "tls": "tidegate.cli.tls:tls",
    "trust": "tidegate.cli.trust:trust",
}


class Commands(click.Group):
    """The top group: finds commands by name and turns expected errors into one line and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_BUILT_IN, *entry_points(group="tidegate.commands").names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        try:
            if cmd_name in _BUILT_IN:
                module, name = _BUILT_IN[cmd_name].split(":")
                return getattr(importlib.import_module(module), name)
            for point in entry_points(group="tidegate.commands", name=cmd_name):
                return point.load()
        except ImportError as error:
            return _unavailable(cmd_name, error)
        return None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except TidegateError as error:
            raise Failure(ctx, error.message, error.remedy, getattr(error, "reason", "")) from error
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise Failure(ctx, what) from error


def _unavailable(name: str, error: ImportError) -> click.Command:
    """A substitute for a command that cannot be imported, so that the others still work."""

    @click.command(name, help=f"(cannot be loaded: {error})", context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1)
    def command(rest: tuple[str, ...]) -> None:
        raise TidegateError(f"the command {name} cannot be loaded: {error}", "Run `pip install .` in the project")

    return command


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
TIDEGATE_SERVER and TIDEGATE_TOKEN_FILE stand for --server and --token-file.

\b
Examples:
  tidegate key new --role release --out keys/release.jwk
  tidegate release build --board qemu_mps2 --version 1.0.0 --sequence 1 --out releases/1.0.0
  tidegate device list""",
)
@click.version_option(tidegate.__version__, prog_name="tidegate")
def main() -> None:
    """Keep MicroPython gateways up to date and under control.

    Builds, signs and publishes releases, flashes boards, and sends signed commands.
    """
