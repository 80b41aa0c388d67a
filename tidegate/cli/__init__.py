"""The command line: `tidegate GROUP COMMAND`. One module a group, loaded when it is used.

Commands of other packages join through the entry-point group "tidegate.commands"; that is how `serve`
and `token` come from ota_server without this package knowing it.
"""

from __future__ import annotations

import difflib
import errno
import gc
import importlib
import io
import os
import re
import sys
from importlib.metadata import entry_points

import click
from click.shell_completion import CompletionItem

import tidegate
from tidegate import interrupts
from tidegate.cli._common import Failure, complain
from tidegate.cli._help_lines import first_paragraph
from tidegate.errors import TidegateError

_BUILT_IN = {
    "alarms": "tidegate.cli.alarms:alarms",
    "apply": "tidegate.cli.fleet:apply",
    "build": "tidegate.cli.build:build",
    "cmd": "tidegate.cli.cmd:cmd",
    "completion": "tidegate.cli.completion:completion",
    "data": "tidegate.cli.data:data",
    "delta": "tidegate.cli.delta:delta",
    "dev": "tidegate.cli.dev:dev",
    "device": "tidegate.cli.device:device",
    "diff": "tidegate.cli.fleet:diff",
    "emulate": "tidegate.cli.emulate:emulate",
    "firmware": "tidegate.cli.firmware:firmware",
    "flash": "tidegate.cli.flash:flash",
    "docs": "tidegate.cli.docs:docs",
    "doctor": "tidegate.cli.doctor:doctor",
    "group": "tidegate.cli.group:group",
    "key": "tidegate.cli.key:key",
    "link": "tidegate.cli.link:link",
    "lock": "tidegate.cli.lock:lock",
    "login": "tidegate.cli.login:login",
    "logout": "tidegate.cli.login:logout",
    "new": "tidegate.cli.new:new",
    "open": "tidegate.cli.open:open_",
    "release": "tidegate.cli.release:release",
    "rollout": "tidegate.cli.rollout:rollout",
    "simulate": "tidegate.cli.simulate:simulate",
    "size": "tidegate.cli.build:size",
    "test": "tidegate.cli.test:test",
    "tls": "tidegate.cli.tls:tls",
    "trust": "tidegate.cli.trust:trust",
}


DEBUG = "TIDEGATE_DEBUG"
_REMEDIES = {
    errno.ENOSPC: "Make room on that disk",
    errno.EDQUOT: "Make room: the quota is used up",
    errno.EROFS: "It is on a disk that cannot be written; name another folder",
    errno.EACCES: "Check the permissions of the file and its folders",
    errno.EPERM: "Check the permissions of the file and its folders",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EMFILE: "Allow more open files: ulimit -n",
    errno.ENOENT: "Check the path",
    errno.ENOTDIR: "Check the path: something in it is not a folder",
    errno.EISDIR: "Name a file in that folder",
    errno.EIO: "The disk or the device has a fault",
}


# What other tools call it, and what it may be called here.
_SYNONYMS = {
    **dict.fromkeys(("delete", "remove", "rm"), ("revoke", "unclaim", "cancel", "forget")),
    **dict.fromkeys(("get", "describe", "info"), ("show", "inspect")),
    **dict.fromkeys(("create", "make", "register"), ("new", "add", "build")),
}


class Commands(click.Group):
    """The top group: finds commands by name and turns expected errors into one line and exit code 1.

    Ctrl-C ends with exit code 130. An error that nobody expected is one line, too; its place is shown where
    TIDEGATE_DEBUG is set.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_BUILT_IN, *entry_points(group="tidegate.commands").names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        gc.disable()  # what a command imports lives until the end: no garbage is in it
        try:
            if cmd_name in _BUILT_IN:
                module, name = _BUILT_IN[cmd_name].split(":")
                return getattr(importlib.import_module(module), name)
            for point in entry_points(group="tidegate.commands", name=cmd_name):
                return point.load()
        except ImportError as error:
            return _unavailable(cmd_name, error)
        finally:
            gc.enable()
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, which would suggest only commands that are loaded already: here none is."""
        close = difflib.get_close_matches(args[0], self.list_commands(ctx), 2)
        if close and args[0] not in close and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {' or '.join(close)}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's, which would load every command for one line of help each."""
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names))
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._short_help(ctx, name, limit)) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click's, without loading every command, at every press of the key."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        found = [CompletionItem(name, help=self._short_help(ctx, name, 60)) for name in names]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def _short_help(self, ctx: click.Context, name: str, limit: int) -> str:
        for where in [_BUILT_IN[name]] if name in _BUILT_IN else _joined(name):
            if text := first_paragraph(where):
                return click.Command(name, help=text).get_short_help_str(limit)
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit) if command else ""

    def invoke(self, ctx: click.Context) -> object:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of few characters shows the others' numbers
        try:
            interrupts.begun()
            return super().invoke(ctx)
        except TidegateError as error:
            raise Failure(ctx, error.message, error.remedy, getattr(error, "reason", "")) from error
        except KeyboardInterrupt:
            complain("Interrupted")
            raise SystemExit(interrupts.INTERRUPTED) from None
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            what = f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else str(error)
            raise Failure(ctx, what, _REMEDIES.get(error.errno or 0, "")) from error
        except click.Abort as error:
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise  # somebody said no, or the input ended
            complain("\nInterrupted")  # click made it of Ctrl-C at a prompt
            raise SystemExit(interrupts.INTERRUPTED) from None
        except click.UsageError as error:
            raise _suggesting(error) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except UnicodeEncodeError as error:  # Python's stand-ins for bytes of an argument that are no UTF-8
            raise Failure(ctx, f"{error.object!r:.60} is not UTF-8", "Write it in UTF-8") from error
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            what = f"tidegate met a fault of its own: {type(error).__name__}: {error}"
            raise Failure(ctx, what, f"Please report it; {DEBUG}=1 shows where it happened") from error


def _suggesting(error: click.UsageError) -> click.UsageError:
    """The same, where it is a verb of other tools with what it is called here."""
    word = re.match("No such command '([a-z]+)'", error.message)
    group = error.ctx.command if error.ctx else None
    if word is None or not isinstance(group, click.Group):
        return error
    found = [f"'{name}'" for name in _SYNONYMS.get(word[1], ()) if name in group.commands]
    return click.UsageError(f"{word[0]}. Did you mean {' or '.join(found)}?", error.ctx) if found else error


def _joined(name: str) -> list[str]:
    """Where commands of this name are that other packages bring."""
    return [point.value for point in entry_points(group="tidegate.commands", name=name)]


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
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.
TIDEGATE_SERVER and TIDEGATE_TOKEN_FILE stand for --server and --token-file, and come before `tidegate login`.

\b
Begin here:
  tidegate new my-gateway
  cd my-gateway && tidegate dev
  tidegate docs tutorial

\b
Examples:
  tidegate key new --role release --out keys/release.jwk
  tidegate release --publish
  tidegate device list""",
)
@click.version_option(tidegate.__version__, prog_name="tidegate")
def main() -> None:
    """Keep MicroPython gateways up to date and under control.

    Builds, signs and publishes releases, flashes boards, and sends signed commands.
    """
