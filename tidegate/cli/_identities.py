"""What the commands that sign for devices have in common: --key, --wait, --known-devices, --trust-first-use,
--accept-unsigned.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import FILE, F, Number, complain
from tidegate.client.server import Server
from tidegate.commands.identity import Identities
from tidegate.commands.known_devices import VARIABLE, KnownDevice, KnownDevices, default_path, now
from tidegate.errors import TidegateError
from tidegate.visible import visible

_FILE, _FIRST_USE, _UNSIGNED = "tidegate.known-devices", "tidegate.first-use", "tidegate.unsigned"


wait_for_each_option = click.option(
    "--wait", type=Number(0, 3600), default=60, show_default=True, help="Seconds to wait for each device."
)


def command_keys_option(text: str, envvar: str | None = None) -> Callable[[F], F]:
    """--key, which may be repeated, as `key_files`; `text` is its help."""
    return click.option(
        "--key", "key_files", type=FILE, multiple=True, envvar=envvar, show_envvar=envvar is not None, help=text
    )


def known_devices_option(command: F) -> F:
    """--known-devices, which `known_of` opens."""
    return click.option(
        "--known-devices",
        type=FILE,
        envvar=VARIABLE,
        show_envvar=True,
        expose_value=False,
        callback=lambda ctx, _param, value: ctx.meta.__setitem__(_FILE, value),
        help="What this machine knows of devices. Default: known-devices in your configuration folder.",
    )(command)


def identity_options(command: F) -> F:
    """All three, for commands that sign; `identities` knows them."""
    for name, key, text in (
        ("--accept-unsigned", _UNSIGNED, "Sign even if a device that signs its births has not signed this one."),
        ("--trust-first-use", _FIRST_USE, "Believe the server who a name is that was never used here; for scripts."),
    ):
        command = click.option(
            name,
            is_flag=True,
            expose_value=False,
            callback=lambda ctx, _param, value, key=key: ctx.meta.__setitem__(key, value),
            help=text,
        )(command)
    return known_devices_option(command)


def known_file() -> Path:
    """The file of what is known of devices."""
    path: Path | None = click.get_current_context().meta.get(_FILE)
    return path or default_path()


def known_of(api: Server | str) -> KnownDevices:
    """What is known of the devices of a server (or of the one at this address)."""
    return KnownDevices(known_file(), api if isinstance(api, str) else api.url)


def identities(api: Server, as_json: bool) -> Identities:
    """The judge of this command's devices: asks at a terminal, and says on stderr what a person should know."""
    meta = click.get_current_context().meta

    def ask(question: str, remedy: str, first_use: bool) -> bool:
        if first_use and meta.get(_FIRST_USE):
            return True
        if as_json or not sys.stdin.isatty():
            raise TidegateError(question, remedy)
        return click.confirm(visible(question), err=True)

    return Identities(known_of(api), ask, (lambda sentence: None) if as_json else complain, bool(meta.get(_UNSIGNED)))


def remember(api: Server, device: str | None, **facts: Any) -> None:
    """Keep what a person has just said of a device. What was done at the server stays done if that cannot be kept."""
    try:
        known = known_of(api)
        known.put(KnownDevice(known.server, device, first_seen=now(), **facts))
    except TidegateError as error:
        complain(f"{error.message}. {error.remedy}.")


def remember_all(api: Server, devices: Sequence[str]) -> None:
    """The same for many devices at once; what is known of one already stays."""
    try:
        known = known_of(api)
        had = {one.id for one in known.all()}
        known.put(*(KnownDevice(known.server, one, first_seen=now()) for one in devices if one not in had))
    except TidegateError as error:
        complain(f"{error.message}. {error.remedy}.")
