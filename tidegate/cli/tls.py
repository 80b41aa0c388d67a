"""`tidegate tls`: certificates for the connections of gateways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import FOLDER, emit, json_option, say
from tidegate.names import DEVICE_ID
from tidegate.trust import certificates

AUTHORITY = "ca"

_folder = click.option(
    "--dir",
    "folder",
    type=FOLDER,
    default="tls",
    show_default=True,
    help="Folder with the authority's ca.crt and ca.key; new files are written there, too.",
)


@click.group()
def tls() -> None:
    """Make the certificates by which gateways and server authenticate each other.

    Your own authority issues the server's certificate and, if you like, those of the gateways. Boards are flashed with
    the authority's certificate (tidegate flash --ca) and trust no other.
    """


@tls.command(
    epilog="""\b
Examples:
  tidegate tls authority --dir tls"""
)
@_folder
@click.option("--name", default="Tidegate fleet", show_default=True, help="Its common name.")
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    default=certificates.AUTHORITY_DAYS,
    show_default=True,
    help="How long it holds.",
)
@json_option
def authority(folder: Path, name: str, days: int, as_json: bool) -> None:
    """Make an authority: ca.crt is public, ca.key stays with you."""
    made = certificates.authority(name, certificates.Lifetime.of(days))
    _save(made, folder, AUTHORITY, as_json, "keep the key off the server")


@tls.command(
    epilog="""\b
Examples:
  tidegate tls server gate.example 192.0.2.10
  tidegate serve --tls-cert tls/server.crt --tls-key tls/server.key"""
)
@_folder
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    default=certificates.SERVER_DAYS,
    show_default=True,
    help="How long it holds.",
)
@json_option
def server(folder: Path, names: tuple[str, ...], days: int, as_json: bool) -> None:
    """Issue server.crt and server.key for the NAMES (host names, addresses) that devices connect to."""
    made = certificates.issue_server(_load(folder), names, certificates.Lifetime.of(days))
    _save(made, folder, "server", as_json, "for tidegate serve or mosquitto")


@tls.command(
    epilog="""\b
Examples:
  tidegate tls device gate-17
  tidegate flash /dev/ttyACM0 --ca tls/ca.crt --client-cert tls/gate-17.crt --client-key tls/gate-17.key"""
)
@_folder
@click.argument("device")
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    default=certificates.DEVICE_DAYS,
    show_default=True,
    help="How long it holds.",
)
@json_option
def device(folder: Path, device: str, days: int, as_json: bool) -> None:
    """Issue DEVICE.crt and DEVICE.key for a gateway, for brokers that require a client certificate."""
    if device in (AUTHORITY, "server") or not DEVICE_ID.fits(device):
        raise click.BadParameter(f"{DEVICE_ID.refusal(device)}; use {DEVICE_ID.rule}", param_hint="DEVICE")
    made = certificates.issue_device(_load(folder), device, certificates.Lifetime.of(days))
    _save(made, folder, device, as_json, "to be flashed")


def _load(folder: Path) -> certificates.Issued:
    return certificates.load(folder / f"{AUTHORITY}.crt", folder / f"{AUTHORITY}.key")


def _save(made: certificates.Issued, folder: Path, name: str, as_json: bool, advice: str) -> None:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    made.save(certificate, key)
    facts = {
        "certificate": str(certificate),
        "key": str(key),
        "not_after": made.certificate.not_valid_after_utc.isoformat(),
    }

    def show(value: dict[str, Any]) -> None:
        say(f"{value['certificate']} and {value['key']} ({advice}), valid until {value['not_after'][:10]}")

    emit(facts, as_json, show)
