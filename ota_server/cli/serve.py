"""`tidegate serve`: the server, or some of its roles."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click

from ota_server import log_lines, roles, service_manager
from ota_server.address import Address
from ota_server.cli._common import data_option, payloads_option
from ota_server.config import KEEP_TELEMETRY, KEEP_TELEMETRY_DAYS, Config
from ota_server.first_start import install_trust
from ota_server.mqtt.url import BrokerUrl
from ota_server.releases import payload_stores
from ota_server.run import Server
from ota_server.tls_context import Tls
from tidegate.cli._common import FILE, FOLDER, LOCAL, Number, in_json, insecure_option, is_insecure, say
from tidegate.client import plain_addresses
from tidegate.errors import TidegateError
from tidegate.files import read_limited


@click.command()
@data_option
@payloads_option
@click.option(
    "--payload-redirect",
    metavar="URL|signed",
    default="",
    help="Send boards elsewhere for payloads: to this address of the store's root (a CDN, a web server), or to"
    " addresses that the bucket signs. Default: the server passes them on. Boards verify what they get.",
)
@click.option("--http", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="API and status page.")
@click.option("--mqtt", default="127.0.0.1:1883", show_default=True, metavar="HOST:PORT", help="The embedded broker.")
@click.option("--coap", metavar="HOST:PORT", help="Speak CoAP there too (UDP; the usual port is 5683). Off by default.")
@click.option(
    "--broker",
    metavar="URL",
    envvar="TIDEGATE_BROKER_URL",
    help="Use this broker (mqtt://USER@HOST:PORT, mqtts:// for TLS, a cluster's nodes as HOST:PORT,HOST:PORT) in"
    " place of the embedded one. Give a password in the environment variable TIDEGATE_BROKER_URL or by"
    " --broker-password-file, not here, where other users see it.",
)
@click.option(
    "--broker-password-file",
    type=FILE,
    help="Default: the server's own password, DATA/broker.password.",
)
@click.option(
    "--mosquitto",
    "mosquitto_dir",
    type=FOLDER,
    metavar="DIR",
    help="Update mosquitto's password and access files in DIR as devices are registered.",
)
@click.option(
    "--dynamic",
    is_flag=True,
    help="--broker is mosquitto with its dynamic security plugin: update its users over MQTT. With --mosquitto"
    " DIR the plugin's file is written there again if it is lost.",
)
@click.option(
    "--trust",
    type=FILE,
    help="Trust store that releases are checked against; copied into DATA.",
)
@click.option(
    "--keep-days",
    type=Number(min=0, min_open=True, max=36500),
    default=KEEP_TELEMETRY_DAYS,
    show_default=True,
    help="Telemetry older than this is deleted.",
)
@click.option(
    "--keep-rows",
    type=click.IntRange(1, 10**9),
    default=KEEP_TELEMETRY,
    show_default=True,
    help="Values stored per device; the oldest are deleted first.",
)
@click.option("--tls-cert", type=FILE, help="PEM: --http and --mqtt speak only TLS. `tidegate tls server` makes one.")
@click.option("--tls-key", type=FILE, help="Its private key.")
@click.option(
    "--tls-client-ca", type=FILE, help="Gateways must show the embedded broker a certificate of this authority."
)
@click.option("--broker-ca", type=FILE, help="The authority of --broker mqtts://..., if the system does not trust it.")
@click.option(
    "--trusted-proxy",
    metavar="ADDRESS",
    help="A reverse proxy before --http: its X-Forwarded-For and X-Forwarded-Proto are believed. Default: nobody's.",
)
@click.option(
    "--roles",
    "roles_text",
    metavar="NAMES",
    help="Run only these parts, separated by commas: web, ingest, downlink, coap. The others run in processes of their"
    " own, on PostgreSQL. Default: all of them, here.",
)
@click.option(
    "--share",
    "share_text",
    metavar="N/OF",
    help="The role ingest files the Nth part of the devices only, as 1/2. A second process of the same part waits.",
)
@insecure_option("the broker password")
@click.option("--verbose", is_flag=True, help="Log every event, not only problems.")
@click.option(
    "--log", "log_as", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Its form."
)
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one line of JSON.")
def serve(
    data: Path,
    payloads: str,
    payload_redirect: str,
    http: str,
    mqtt: str,
    coap: str | None,
    broker: str | None,
    broker_password_file: Path | None,
    mosquitto_dir: Path | None,
    dynamic: bool,
    trust: Path | None,
    keep_days: float,
    keep_rows: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    broker_ca: Path | None,
    trusted_proxy: str | None,
    roles_text: str | None,
    share_text: str | None,
    verbose: bool,
    log_as: str,
    as_json: bool,
) -> None:
    """Run the server: HTTP API, status page, MQTT worker, and an embedded broker unless --broker names another.

    The first start makes the database and an admin token (DATA/admin.token). Port 0 takes any free port; the real
    addresses are printed and written to DATA/serve.json. Ctrl-C stops it.

    \b
    Examples:
      tidegate serve --trust trust.cbor
      tidegate serve --http 0.0.0.0:8080 --mqtt 0.0.0.0:1883 --coap 0.0.0.0:5683
      tidegate serve --http 0.0.0.0:8443 --mqtt 0.0.0.0:8883 --tls-cert tls/server.crt --tls-key tls/server.key
      tidegate serve --payloads s3://releases/tidegate --payload-redirect https://cdn.example
      TIDEGATE_BROKER_URL=mqtts://tidegate_server@broker tidegate serve
      tidegate serve --roles ingest --share 1/2 --broker mqtt://tidegate_server@127.0.0.1
    """
    log_lines.set_up(logging.INFO if verbose else logging.WARNING, log_as == "json")
    os.umask(0o077)  # other users must not read the database, payloads and secrets
    if dynamic and broker is None:
        raise TidegateError("--dynamic needs --broker", "Leave it out: the embedded broker manages its users itself")
    if broker is not None:
        url = BrokerUrl(broker)
        for host, _ in url.addresses:
            plain_addresses.check(str(url), "mqtts" if url.tls else "mqtt", host, is_insecure(), "the broker password")
    keep: dict[str, Any] = {"keep_days": keep_days, "keep_rows": keep_rows}
    config = Config(
        data=data,
        payload_store=payloads,
        payload_redirect=_redirect(payload_redirect),
        mosquitto_dir=mosquitto_dir,
        dynamic=dynamic,
        **keep,
    )
    listen = Address.parse(http), Address.parse(mqtt)
    if trust is not None:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        install_trust(config, trust)
    server = Server(
        config,
        *listen,
        broker_url=_broker_url(broker, broker_password_file),
        coap=None if coap is None else Address.parse(coap),
        tls=_tls(tls_cert, tls_key, tls_client_ca),
        broker_ca=broker_ca,
        trusted_proxy=_proxy(trusted_proxy),
        roles=frozenset(roles.ALL) if roles_text is None else roles.parse(roles_text),
        share=roles.Share() if share_text is None else roles.Share.parse(share_text),
    )
    try:
        addresses = server.start()
        if as_json:
            say(in_json(addresses))
        else:
            if "http" in addresses:
                say(f"http  {addresses['http']}   status page; sign in with the token below")
            if "mqtt" in addresses:
                say(f"mqtt  {addresses['mqtt']}" + ("" if broker is None else "   (external broker)"))
            if "coap" in addresses:
                say(f"coap  {addresses['coap']}")
            say(f"admin token: {config.admin_token}")
            if "http" in addresses:
                say(f"the page, signed in: {_open(addresses['http'], config.admin_token)}")
        sys.stdout.flush()
        service_manager.ready()
        gc.freeze()  # what was imported stays: collections need not walk it
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


def _open(url: str, token: Path) -> str:
    """The command that opens the page of this server."""
    there = [] if url == LOCAL else ["--server", url]
    return shlex.join(["tidegate", "open", *there, "--token-file", str(token)])


def _redirect(address: str) -> str:
    try:
        found = urlsplit(address)
    except ValueError:  # half an address
        found = urlsplit("")
    is_place = found.scheme in ("http", "https") and found.hostname and not (found.query or found.fragment)
    is_visible = address.isascii() and address.isprintable() and " " not in address
    if address in ("", payload_stores.SIGNED) or (is_place and is_visible and "@" not in address):
        return address
    raise TidegateError(
        f"--payload-redirect {address!r} is not an address", "Write it like https://cdn.example/tidegate, or: signed"
    )


def _proxy(address: str | None) -> str | None:
    if address is not None:
        try:
            return str(ipaddress.ip_address(address))
        except ValueError:
            raise TidegateError(
                f"--trusted-proxy {address!r} is not an IP address", "Name the address that the proxy connects from"
            ) from None
    return None


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    if certificate and key:
        return Tls(certificate, key, client_ca)
    if certificate or key or client_ca:
        raise TidegateError("TLS needs --tls-cert and --tls-key", "Make both with: tidegate tls server NAME")
    return None


def _broker_url(url: str | None, password_file: Path | None) -> str | None:
    if url is None or password_file is None:
        return url
    scheme, separator, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    if not at or ":" in user:
        raise TidegateError("--broker-password-file needs a user and no password in --broker", "mqtt://USER@HOST:PORT")
    password = read_limited(password_file, 512, "broker password").decode().strip()
    return f"{scheme}{separator}{user}:{quote(password, safe='')}@{host}"
