"""The argument that is a device, and what a shell completes it to: the ids and names that the server has."""

from __future__ import annotations

import os
import signal
from types import FrameType

import click
from click.shell_completion import CompletionItem

from tidegate.cli._common import connect
from tidegate.errors import TidegateError

PATIENCE_S = 2.0  # of somebody who pressed the key


def complete_device(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Devices whose id or name begins so; none where the server does not say it at once."""
    if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
        signal.signal(signal.SIGALRM, _give_up)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    server, token_file = context.params.get("server"), context.params.get("token_file")
    if server is None or context.params.get("words"):  # of `cmd send`, whose first word alone is a device
        return []
    try:
        with connect(server, token_file) as api:
            found = api.devices()["devices"]
    except (TidegateError, OSError):
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    items = [(one["id"], one.get("name") or "") for one in found] + [
        (one["name"], one["id"]) for one in found if one.get("name")
    ]
    return [CompletionItem(word, help=text) for word, text in sorted(items) if word.startswith(incomplete)]


device_argument = click.argument("device_id", metavar="ID", shell_complete=complete_device)


def _give_up(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)
