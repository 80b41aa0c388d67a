"""`tidegate device label`: keys and values that people give devices, to select them by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import connect, emit, json_option, say, server_options
from tidegate.cli._device_names import complete_device
from tidegate.errors import TidegateError
from tidegate.rollout.selector import LABEL_KEY, LABEL_VALUE


@click.command(
    epilog="""\b
Examples:
  tidegate device label gate-1 site=vienna batch=2026-11
  tidegate device label gate-1 batch=
  tidegate device label gate-1 --json"""
)
@click.argument("device", shell_complete=complete_device)
@click.argument("labels", nargs=-1)
@server_options
@json_option
def label(device: str, labels: tuple[str, ...], server: str, token_file: Path | None, as_json: bool) -> None:
    """Give DEVICE labels, written KEY=VALUE; KEY= takes one away. Without any, show those that it has.

    Rollouts in waves select by them: --to label.site=vienna. Needs a token with the scope devices.
    """
    changes = dict(_read(text) for text in labels)
    with connect(server, token_file) as api:
        answer = api.waves.label(device, changes) if changes else api.waves.labels(device)

    def show(value: dict[str, Any]) -> None:
        text = " ".join(f"{key}={value}" for key, value in value["labels"].items())
        say(f"{value['id']}: {text or 'has no labels'}")

    emit(answer, as_json, show)


def _read(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if not equals:
        raise TidegateError(f"{text!r:.80} is not a label", "Write it KEY=VALUE, or KEY= to take it away")
    return LABEL_KEY.check(key), LABEL_VALUE.check(value) if value else None
