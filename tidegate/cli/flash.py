"""`tidegate flash`: put Tidegate on a board over its serial port."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tidegate import boards, project, release
from tidegate.cli.common import FILE, FOLDER, emit, json_option, progress, say
from tidegate.errors import TidegateError
from tidegate.flash import Outcome, Request
from tidegate.flash import flash as flash_board
from tidegate.flash import verify as verify_board
from tidegate.loaderfiles import KINDS, VERIFY


@click.command(
    epilog="""\b
PORT is a device name as mpremote takes it: auto, a0 (/dev/ttyACM0), u0 (/dev/ttyUSB0), id:SERIAL, or a path;
or unix:FOLDER, for a Linux gateway that `boards/unix/gateway FOLDER` runs.

\b
Examples:
  tidegate flash auto --board qemu_mps2 --release releases/1.0.0 --trust trust.cbor \\
      --config gate-7.config.json --credentials gate-7.credentials.json
  tidegate flash /dev/ttyACM0 --board qemu_mps2 --release releases/1.1.0
  tidegate flash a0 --board qemu_mps2 --release releases/1.1.0 --verify-only
  tidegate flash a0 --board qemu_mps2 --release releases/1.1.0 --verify signature
  tidegate flash a0 --board qemu_mps2 --config gate-7.config.json --ca tls/ca.crt
  tidegate flash unix:gate-9 --board unix --release releases/1.0.0 --trust trust.cbor \\
      --config gate-9.config.json --credentials gate-9.credentials.json"""
)
@click.argument("port", metavar="PORT")
@click.option("--board", "board_name", required=True, help="What board it is; another one is refused.")
@click.option("--release", "release_dir", type=FOLDER, help="Release whose image to install.")
@click.option("--trust", "trust_file", type=FILE, help="Trust store: the keys the board accepts.")
@click.option("--config", "config_file", type=FILE, help="Settings, JSON (docs/config.md).")
@click.option("--credentials", "credentials_file", type=FILE, help="MQTT user and password, from `device add`.")
@click.option("--ca", type=FILE, help="Certificate of the authority that TLS trusts, PEM or DER.")
@click.option("--client-cert", type=FILE, help="The gateway's own certificate, where the broker asks for one.")
@click.option("--client-key", type=FILE, help="Its private key.")
@click.option(
    "--slots", type=click.Choice(KINDS), help="Where images are kept. Default: as before, or the board's way."
)
@click.option(
    "--verify", type=click.Choice(VERIFY), help="What a slot must have at every boot. Default: as before, or digest."
)
@click.option("--wipe", is_flag=True, help="Forget counters, staged updates and kept reports.")
@click.option("--verify-only", is_flag=True, help="Change nothing; exit code 1 if the board differs.")
@click.option("--source", type=FOLDER, help="Project folder with firmware/ and boards/. Default: around here.")
@json_option
def flash(
    port: str,
    board_name: str,
    release_dir: Path | None,
    trust_file: Path | None,
    config_file: Path | None,
    credentials_file: Path | None,
    ca: Path | None,
    client_cert: Path | None,
    client_key: Path | None,
    slots: str | None,
    verify: str | None,
    wipe: bool,
    verify_only: bool,
    source: Path | None,
    as_json: bool,
) -> None:
    """Put loader, trust store, settings and image on the board at PORT, and reset it.

    Everything is read back and compared; what is right already stays as it is. If the cable is pulled, run it again.
    """
    if (client_cert is None) != (client_key is None):
        raise click.UsageError("--client-cert and --client-key go together")
    root = source or project.find_root()
    request = Request(
        board=boards.load(root, board_name),
        root=root,
        release=release.load(release_dir) if release_dir else None,
        trust=trust_file,
        config=config_file,
        credentials=credentials_file,
        ca=ca,
        client=(client_cert, client_key) if client_cert and client_key else None,
        wipe=wipe,
        slots=slots,
        verify=verify,
    )
    if verify_only:
        _verify(port, request, as_json)
        return
    with progress(f"flashing {port}", quiet=as_json) as tell:
        outcome = flash_board(port, request, lambda what, done, total: tell(done, total, what))
    emit(asdict(outcome), as_json, lambda _: _show(outcome))


def _show(outcome: Outcome) -> None:
    say(f"{outcome.port}: {outcome.machine}, MicroPython {outcome.micropython}, id {outcome.unique_id}")
    for verb, paths in (("wrote", outcome.written), ("unchanged", outcome.kept), ("removed", outcome.removed)):
        if paths:
            say(f"  {verb}: {' '.join(paths)}")
    slots = outcome.slots or {}
    running: dict[str, Any] = slots["slots"][slots["running"]]
    what = f"sequence {running['sequence']}, {running['size']} bytes"
    say(f"  {slots['kind']} slot {slots['running']} boots: {what}, read back, its {slots['verify']} verified")


def _verify(port: str, request: Request, as_json: bool) -> None:
    differences = verify_board(port, request)
    answer = {"port": port, "differences": differences}
    emit(answer, as_json, lambda _: say("\n".join(f"{port}: {line}" for line in differences or ["as asked"])))
    if differences:
        raise TidegateError(f"{port} is not as asked", "Flash it without --verify-only")
