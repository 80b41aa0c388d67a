"""`tidegate server webhook`: who is told of events. On the server's machine only, never over the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ota_server.api import serialize
from ota_server.cli._common import data_option, me
from ota_server.config import MAX_PAGE, Config
from ota_server.first_start import prepare
from ota_server.security import audit
from ota_server.security.device_credentials import Keys
from ota_server.store import webhooks
from ota_server.webhooks import addresses, signature
from tidegate.cli._common import emit, json_option, rows, say
from tidegate.errors import TidegateError

NUMBER = click.IntRange(1, 2**63 - 1)


@click.group()
def webhook() -> None:
    """Have the server tell others, over HTTPS, when a rollout pauses, a device fails or an alarm is raised."""


@webhook.command("add")
@data_option
@click.argument("url")
@click.option(
    "--events", metavar="NAMES", default=",".join(webhooks.EVENTS), show_default=True, help="A comma between them."
)
@click.option("--private", is_flag=True, help="Its address may be one of a network of your own.")
@json_option
def add(data: Path, url: str, events: str, private: bool, as_json: bool) -> None:
    """Add a webhook and show the secret that signs its messages: this is the only time that it is readable.

    URL is https, or http to this machine.

    \b
    Examples:
      tidegate server webhook add https://hooks.example/tidegate
      tidegate server webhook add http://127.0.0.1:9000/ --events rollout.paused,device.failed
    """
    target = addresses.parse(url, private=private)
    names = _events(events)
    config = Config(data=data)
    with prepare(config).write() as session:
        audit.take_turn(session)  # also so that two that add at once count each other
        row = webhooks.add(session, url, names, private=private)
        _record(session, "webhook.add", row.id, origin=target.origin, events=names)
        made = {"id": row.id, "secret": signature.shown(Keys(config.coap_secret).of_webhook(row.salt))}
    emit(made, as_json, lambda shown: say(f"webhook {shown['id']}; its secret, shown only now: {shown['secret']}"))


@webhook.command("list")
@data_option
@json_option
def list_(data: Path, as_json: bool) -> None:
    """Show the webhooks, without their secrets.

    \b
    Example:
      tidegate server webhook list --json
    """
    with prepare(Config(data=data)).read() as session:
        waiting = webhooks.waiting(session)
        found = [
            {
                "id": row.id,
                "url": row.url,
                "events": row.events.split(),
                "private": row.private,
                "created": serialize.iso(row.created_at),
                "waiting": waiting.get(row.id, 0),
            }
            for row in webhooks.listed(session)
        ]
    columns = {"id": "id", "url": "address", "events": "events", "waiting": "waiting", "created": "since"}
    emit(found, as_json, lambda shown: rows(_joined(shown), columns, "there are no webhooks"))


@webhook.command("remove")
@data_option
@click.argument("number", type=NUMBER)
@json_option
def remove(data: Path, number: int, as_json: bool) -> None:
    """Send nothing more to a webhook, not even what waits. Its log stays.

    \b
    Example:
      tidegate server webhook remove 1
    """
    with prepare(Config(data=data)).write() as session:
        audit.take_turn(session)
        webhooks.remove(session, webhooks.find(session, number))
        _record(session, "webhook.remove", number)
    emit({"id": number}, as_json, lambda _: say(f"webhook {number} is removed"))


@webhook.command("test")
@data_option
@click.argument("number", type=NUMBER)
@json_option
def test(data: Path, number: int, as_json: bool) -> None:
    """Have the running server send a message of the kind webhook.test; the log shows what came of it.

    \b
    Example:
      tidegate server webhook test 1
    """
    with prepare(Config(data=data)).write() as session:
        webhooks.announce_test(session, webhooks.find(session, number))
    told = f"a message waits for webhook {number}; see: tidegate server webhook log {number}"
    emit({"id": number}, as_json, lambda _: say(told))


@webhook.command("log")
@data_option
@click.argument("number", type=NUMBER)
@click.option("--limit", type=click.IntRange(1, MAX_PAGE), default=20, show_default=True, help="So many, the newest.")
@json_option
def log(data: Path, number: int, limit: int, as_json: bool) -> None:
    """Show what was sent to a webhook and what waits, the newest first.

    \b
    Example:
      tidegate server webhook log 1 --limit 100 --json
    """
    with prepare(Config(data=data)).read() as session:
        found = [serialize.webhook_delivery(row) for row in webhooks.log(session, number, limit)]
    columns = {
        "id": "id",
        "event": "event",
        "at": "at",
        "state": "state",
        "tries": "tries",
        "next": "next",
        "why": "why",
    }
    emit(found, as_json, lambda shown: rows(shown, columns, f"nothing was sent to webhook {number}"))


def _events(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in webhooks.EVENTS:
            raise TidegateError(f"{name!r} is not an event", f"Events are {', '.join(webhooks.EVENTS)}")
    return names


def _joined(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "events": ", ".join(row["events"])} for row in found]


def _record(session: Any, action: str, number: int, **detail: Any) -> None:
    audit.record(session, me(), action, f"webhook {number}", **detail)
