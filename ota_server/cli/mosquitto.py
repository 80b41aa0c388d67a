"""`tidegate mosquitto`: the files from which mosquitto starts in place of the embedded broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ota_server.cli._common import data_option
from ota_server.config import Config
from ota_server.first_start import prepare
from ota_server.mqtt import mosquitto_files as broker_files
from tidegate.cli._common import FILE, FOLDER, emit, json_option, say


@click.command()
@data_option
@click.option("--dynamic", is_flag=True, help="For mosquitto's dynamic security plugin, which the server then manages.")
@click.option("--plugin", type=FILE, help="With --dynamic: the plugin's path, if it is not where packages install it.")
@click.argument("folder", type=FOLDER)
@json_option
def mosquitto(data: Path, dynamic: bool, plugin: Path | None, folder: Path, as_json: bool) -> None:
    """Write what mosquitto needs to replace the embedded broker: users, access list, and a configuration to start from.

    With --dynamic the users are in a file of mosquitto's plugin: all devices with the hashes of their passwords. An
    existing file is not overwritten. From then on the plugin owns it, and `tidegate serve --dynamic` updates it.

    \b
    Examples:
      tidegate mosquitto mosquitto.d && mosquitto -c mosquitto.d/mosquitto.conf
      tidegate mosquitto mosquitto.d --dynamic && mosquitto -c mosquitto.d/mosquitto.conf
    """
    config, start = Config(data=data), f"{folder}/mosquitto.conf"
    if not dynamic:
        broker_files.write(folder, config, prepare(config))
        written = ["passwords", "access"]
    elif broker_files.write_dynamic(folder, config, prepare(config), plugin):
        written = [broker_files.PLUGIN_FILE]
    else:
        written = []

    def show(_: dict[str, Any]) -> None:
        if not written:
            say(f"{folder}/{broker_files.PLUGIN_FILE} exists and was not changed; delete it first to write it again")
            return
        say(
            f"wrote {' and '.join(f'{folder}/{name}' for name in written)}; start: mosquitto -c {folder}/mosquitto.conf"
        )
        if not dynamic:
            say("a mosquitto that runs already reads them once `tidegate serve` is connected to it")

    emit({"folder": str(folder), "wrote": written, "config": start}, as_json, show)
