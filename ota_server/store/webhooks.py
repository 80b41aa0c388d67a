"""Webhooks and their messages: written with what they are about, sent later, and then the log of what was sent.

A message is claimed for one try before it is sent, so that two servers never make the same try; if the claimant ends,
the claim runs out and the message is tried again. So none is lost, and one may come twice, with the same id.
"""

from __future__ import annotations

import json
import random
import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Integer, func, insert, literal, or_, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from ota_server.store.clock import iso
from ota_server.store.models import Webhook, WebhookDelivery, now_ms
from ota_server.store.pages import Place, page
from tidegate.errors import TidegateError

EVENTS = ("rollout.paused", "rollout.done", "rollout.aborted", "rollout.gate", "device.failed", "alarm.raised")
TEST = "webhook.test"  # goes to one webhook, whatever its events are
SALT = 16  # bytes

MAX_WEBHOOKS = 20
MAX_WAITING = 10_000  # messages of a webhook; the oldest are dropped
KEEP = 1_000  # messages of a webhook in the log
_BATCH = 300  # rows changed in one transaction

CLAIM_MS = 120_000  # longer than a try can last
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 6 * 3600.0
JITTER = 0.2  # of a pause, up or down
TRIES = 19  # over about three days
_FAR_MS = round(1000 * LONGEST_PAUSE_S * (1 + JITTER))


class Try(NamedTuple):
    """A message that is claimed for its try number `number`, from 1 on."""

    id: int
    number: int
    url: str
    private: bool
    salt: bytes
    message: str
    body: str


# ---------------------------------------------------------------- webhooks


def add(session: Session, url: str, events: Sequence[str], *, private: bool) -> Webhook:
    """url: checked already. Raises TidegateError if there are too many."""
    if len(listed(session)) >= MAX_WEBHOOKS:
        raise TidegateError(f"there are {MAX_WEBHOOKS} webhooks already", "Remove one: tidegate server webhook remove")
    row = Webhook(url=url, events=" ".join(events), private=private, salt=secrets.token_bytes(SALT))
    session.add(row)
    session.flush()
    return row


def listed(session: Session) -> list[Webhook]:
    return list(session.scalars(select(Webhook).where(Webhook.removed_at.is_(None)).order_by(Webhook.id)))


def find(session: Session, number: int) -> Webhook:
    """One that was not removed. Raises TidegateError."""
    row = session.get(Webhook, number)
    if row is None or row.removed_at is not None:
        raise TidegateError(f"webhook {number} does not exist", "See: tidegate server webhook list")
    return row


def remove(session: Session, row: Webhook) -> None:
    """Send it nothing more, not even what waits. Its log stays."""
    # The row stays, too: a transaction that announces something never waits for one that removes a webhook.
    row.removed_at = now_ms()
    row.salt = b""
    waiting = (WebhookDelivery.webhook_id == row.id) & (WebhookDelivery.state == "waiting")
    session.execute(update(WebhookDelivery).where(waiting).values(state="removed", ended_at=row.removed_at))


def waiting(session: Session) -> dict[int, int]:
    """How many messages each webhook waits for, if any."""
    statement = select(WebhookDelivery.webhook_id, func.count()).where(WebhookDelivery.state == "waiting")
    return {row[0]: row[1] for row in session.execute(statement.group_by(WebhookDelivery.webhook_id))}


# ---------------------------------------------------------------- messages


def announce(session: Session, event: str, facts: Mapping[str, Any], only: int | None = None) -> None:
    """Something happened: in the caller's transaction, a message for each webhook that wants to hear of it.

    only: for the webhook of this number instead, whatever its events are.
    """
    wants = (literal(" ") + Webhook.events + " ").contains(f" {event} ")
    _write(session, event, facts, wants if only is None else Webhook.id == only)


def announce_test(session: Session, row: Webhook) -> None:
    """A message for this webhook alone."""
    _write(session, TEST, {"webhook": row.id}, Webhook.id == row.id)


def _write(session: Session, event: str, facts: Mapping[str, Any], wants: Any) -> None:
    now = now_ms()
    body = {"type": event, "timestamp": iso(now), "data": dict(facts)}
    values = {
        "webhook_id": Webhook.id,
        "message": literal(f"msg_{uuid.uuid4().hex}"),
        "event": literal(event),
        "body": literal(json.dumps(body)),
        "created_at": literal(now, BigInteger),
        "state": literal("waiting"),
        "tries": literal(0, Integer),
        "next_at": literal(now, BigInteger),
    }
    rows = select(*values.values()).where(Webhook.removed_at.is_(None), wants)
    session.execute(insert(WebhookDelivery).from_select(list(values), rows, include_defaults=False))


def due(session: Session, now: int) -> list[int]:
    """The webhooks for which something is to be sent."""
    return list(session.scalars(select(WebhookDelivery.webhook_id).where(_is_due(now)).distinct()))


def _is_due(now: int) -> Any:
    # What is further away than any pause was set before the clock was set back.
    late = or_(WebhookDelivery.next_at <= now, WebhookDelivery.next_at > now + _FAR_MS)
    return (WebhookDelivery.state == "waiting") & late


def claim(session: Session, webhook_id: int, now: int) -> Try | None:
    """The next message to send to this webhook; nobody else gets it meanwhile."""
    first = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id, _is_due(now))
    first = first.order_by(WebhookDelivery.next_at, WebhookDelivery.id).limit(1).with_for_update(skip_locked=True)
    row = session.scalar(first)
    webhook = session.get(Webhook, webhook_id)
    if row is None or webhook is None or webhook.removed_at is not None:
        return None
    row.tries += 1
    row.next_at = now + CLAIM_MS
    return Try(row.id, row.tries, webhook.url, webhook.private, webhook.salt, row.message, row.body)


def note(session: Session, tried: Try, status: int | None, why: str | None, now: int) -> str | None:
    """What came of a try; `why` is None if it was delivered. Returns the state, or None if it is not ours any more."""
    mine = (WebhookDelivery.id == tried.id) & (WebhookDelivery.tries == tried.number)
    row = session.scalar(select(WebhookDelivery).where(mine, WebhookDelivery.state == "waiting").with_for_update())
    if row is None:
        return None
    row.status, row.why = status, why and why[:200]
    if why is None:
        row.state, row.ended_at = "delivered", now
    elif tried.number >= TRIES:
        row.state, row.ended_at = "given-up", now
    else:
        row.next_at = now + round(1000 * pause_s(tried.number, random.random()))
    return row.state


def pause_s(tries: int, chance: float) -> float:
    """How long to wait after so many tries; `chance` from 0 to 1 spreads what failed together."""
    pause = min(FIRST_PAUSE_S * 4 ** min(tries - 1, 20), LONGEST_PAUSE_S)
    return pause * (1 + JITTER * (2 * chance - 1))


def log(session: Session, webhook_id: int, limit: int, place: Place = Place()) -> list[WebhookDelivery]:  # noqa: B008
    """The newest first, unless the place says otherwise."""
    statement = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    return list(session.scalars(page(statement, WebhookDelivery.id, limit, place)))


# ---------------------------------------------------------------- bounds


def drop(session: Session) -> int:
    """Of webhooks for which too much waits, drop the oldest, up to a batch of each; returns how many."""
    gone = 0
    for webhook_id, count in waiting(session).items():
        of = (WebhookDelivery.webhook_id == webhook_id) & (WebhookDelivery.state == "waiting")
        many = min(count - MAX_WAITING, _BATCH)
        if many > 0:
            oldest = select(WebhookDelivery.id).where(of).order_by(WebhookDelivery.id).limit(many)
            ids = session.scalars(oldest).all()
            dropped = {"state": "dropped", "ended_at": now_ms(), "why": f"more than {MAX_WAITING} waited"}
            session.execute(update(WebhookDelivery).where(WebhookDelivery.id.in_(ids), of).values(**dropped))
            gone += len(ids)
    return gone


def prune(session: Session) -> int:
    """Delete the oldest entries of logs that are too long, up to a batch of each; returns how many."""
    gone = 0
    for webhook_id in session.scalars(select(Webhook.id)).all():
        of = (WebhookDelivery.webhook_id == webhook_id) & (WebhookDelivery.state != "waiting")
        newest = select(WebhookDelivery.id).where(of).order_by(WebhookDelivery.id.desc()).offset(KEEP).limit(_BATCH)
        ids = session.scalars(newest).all()
        if ids:
            session.execute(sql_delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids)))
            gone += len(ids)
    return gone
