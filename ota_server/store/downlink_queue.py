"""What goes down to devices: trust updates, offers of releases and of data, commands.

Over CoAP a device reads or observes them as resources. Over MQTT the worker publishes what the broker does not have yet
(`RETAINED`), retained, so that a device that is away finds it later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, literal, or_, select, tuple_, update
from sqlalchemy.orm import Session

from ota_server.store import device_events, trust_updates
from ota_server.store.commands import waiting
from ota_server.store.engine import Store
from ota_server.store.models import Command, DataTarget, Device, DeviceData, Target, TrustUpdate, now_ms
from ota_server.store.trust_updates import may_have, newest_version

_CHUNK = 500  # device ids in one statement
LEASE_MS = 30_000  # no other worker publishes something for so long after one began to

After = tuple[str, str]  # a device's id, and the name of one of its data components or ""


# ---------------------------------------------------------------- CoAP: one device's resources


def offer(session: Session, device_id: str) -> bytes:
    """The envelope of the release the device should run; empty without one. Trust updates go first."""
    statement = (
        select(Target.envelope)
        .join(Device, Device.offer_id == Target.id)
        .where(Device.id == device_id, func.coalesce(Device.trust_version, 0) >= newest_version(session))
    )
    return session.scalar(statement) or b""


def data_offer(session: Session, device_id: str, name: str) -> bytes:
    """The envelope of what the device's data component `name` should hold."""
    statement = (
        select(DataTarget.envelope)
        .join(DeviceData, DeviceData.offer_id == DataTarget.id)
        .join(Device, Device.id == DeviceData.device_id)
        .where(
            DeviceData.device_id == device_id,
            DeviceData.name == name,
            func.coalesce(Device.trust_version, 0) >= newest_version(session),
        )
    )
    return session.scalar(statement) or b""


def trust_update(session: Session, device_id: str) -> bytes:
    """The update that follows the trust store the device has."""
    statement = select(TrustUpdate.document).join(Device, TrustUpdate.version == Device.trust_version + 1)
    return session.scalar(statement.where(Device.id == device_id, may_have(TrustUpdate.version))) or b""


def waiting_commands(session: Session, device_id: str) -> list[int]:
    """Rows of the commands that wait for a device, oldest first."""
    statement = select(Command.id).where(Command.device_id == device_id, waiting(now_ms()))
    return list(session.scalars(statement.order_by(Command.id)))


class Standing(NamedTuple):
    """What decides what a device can read; observers are notified when it changes."""

    trust: int
    next_trust: int  # the newest that it may have
    offer: int | None
    data: tuple[tuple[str, int | None], ...]
    command: int | None  # the oldest that waits


def standings(session: Session, device_ids: Iterable[str]) -> dict[str, Standing]:
    """Of several devices at once."""
    out: dict[str, Standing] = {}
    ids, now, to_all = sorted(device_ids), now_ms(), newest_version(session)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        data: dict[str, list[tuple[str, int | None]]] = {}
        held = select(DeviceData.device_id, DeviceData.name, DeviceData.offer_id)
        for device_id, name, target in session.execute(held.where(DeviceData.device_id.in_(chunk))).all():
            data.setdefault(device_id, []).append((name, target))
        oldest = select(Command.device_id, func.min(Command.id)).where(waiting(now), Command.device_id.in_(chunk))
        commands = {row[0]: row[1] for row in session.execute(oldest.group_by(Command.device_id)).all()}
        granted = trust_updates.granted(session, chunk)
        devices = select(Device.id, Device.trust_version, Device.offer_id).where(Device.id.in_(chunk))
        for device_id, trust, target in session.execute(devices).all():
            about, newest = tuple(sorted(data.get(device_id, ()))), max(to_all, granted.get(device_id, 0))
            out[device_id] = Standing(trust or 0, newest, target, about, commands.get(device_id))
    return out


def gone(session: Session, device_id: str) -> None:
    """A device that does not answer any more is offline."""
    session.execute(update(Device).where(Device.id == device_id, Device.protocol == "coap").values(online=False))


def silent(session: Session, since: int) -> int:
    """Mark CoAP devices that were silent since `since` (ms) as offline; returns how many."""
    quiet = (Device.protocol == "coap") & Device.online & (Device.last_seen_at < since)
    return session.execute(update(Device).where(quiet).values(online=False)).rowcount  # type: ignore[attr-defined]


# ---------------------------------------------------------------- MQTT: what the broker does not have yet


class Unsent(NamedTuple):
    """A retained message to publish at tg/<device_id>/down/<path>.

    An empty payload takes the last one away (MQTT 3.1.1, section 3.3.1.3). `number` is the trust version or the id of
    the target, None for none; `component` names a data component.
    """

    device_id: str
    path: str
    payload: bytes
    number: int | None = None
    component: str = ""


class Queue(NamedTuple):
    """One kind of retained message.

    unsent: what the broker does not have and no other worker is about to publish, at most so many rows, by device,
    after a (device, component). of: the rows that say so.
    """

    unsent: Callable[[Session, int, After], list[Unsent]]
    of: type[Device | DeviceData]
    sent: str  # the column that has what the broker has
    offered: Callable[[Session, device_events.Rows, int], None]  # notes in the devices' timelines what it has now


def take(store: Store, queue: Queue, limit: int, after: After) -> list[Unsent]:
    """What is to be published next. Where several workers may run, nobody else gets the same for `LEASE_MS`."""
    if not store.on_postgresql:
        with store.read() as session:
            return queue.unsent(session, limit, after)
    with store.write() as session:
        found = queue.unsent(session, limit, after)
        _note(session, queue, found, claimed_until=now_ms() + LEASE_MS)
        return found


def mark_sent(session: Session, queue: Queue, sent: Sequence[Unsent]) -> None:
    """The broker has them."""
    for number, some in groupby(sorted(sent, key=_number), key=_number):
        rows = list(some)
        _note(session, queue, rows, **{queue.sent: number if number >= 0 else None}, claimed_until=None)
        queue.offered(session, [(one.device_id, one.component) for one in rows], number)


def _number(one: Unsent) -> int:
    return -1 if one.number is None else one.number


def _note(session: Session, queue: Queue, some: Sequence[Unsent], **values: int | None) -> None:
    table = queue.of
    if table is Device:
        which = Device.id.in_([one.device_id for one in some])
    else:
        rows = [(one.device_id, one.component) for one in some]
        which = tuple_(DeviceData.device_id, DeviceData.name).in_(rows)
    session.execute(update(table).where(which).values(values).execution_options(synchronize_session=False))


def _free(table: type[Device | DeviceData]) -> ColumnElement[bool]:
    return table.claimed_until.is_(None) | (table.claimed_until < now_ms())


def _trust_is_new(session: Session) -> ColumnElement[bool]:
    """A device whose trust store is behind is updated first: it could refuse what is good for its keys."""
    return func.coalesce(Device.trust_version, 0) >= newest_version(session)


# The same words as in the indexes, which have only these rows.
_OFFER_UNSENT = Device.offer_id.is_distinct_from(Device.offer_sent_id)
_DATA_UNSENT = DeviceData.offer_id.is_distinct_from(DeviceData.offer_sent_id)
# Written so that the few updates are looked up among the devices, not each device among the updates.
_TRUST_UNSENT = (
    (Device.trust_version == TrustUpdate.version - 1)
    & Device.trust_sent.is_distinct_from(TrustUpdate.version)
    & Device.revoked_at.is_(None)
    & may_have(TrustUpdate.version)
)
# A rollout took it back before the device had it. Only what is held back can be. The sums as above.
_TRUST_WITHDRAWN = (
    (Device.trust_version == TrustUpdate.version - 1)
    & (Device.trust_sent == TrustUpdate.version + 0)
    & TrustUpdate.held
    & ~may_have(TrustUpdate.version)
)


def _unsent_trust(session: Session, limit: int, after: After) -> list[Unsent]:
    """The next trust update of each device that is behind."""
    query = (
        select(Device.id, TrustUpdate.version, TrustUpdate.document)
        .join_from(TrustUpdate, Device, _TRUST_UNSENT)
        .where(Device.id > after[0], _free(Device))
        .order_by(Device.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Device)
    )
    return [Unsent(device_id, "trust", document, version) for device_id, version, document in session.execute(query)]


def _withdrawn_trust(session: Session, limit: int, after: After) -> list[Unsent]:
    query = (
        select(Device.id)
        .join_from(TrustUpdate, Device, _TRUST_WITHDRAWN)
        .where(Device.id > after[0], _free(Device))
        .order_by(Device.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Device)
    )
    return [Unsent(device_id, "trust", b"") for device_id in session.scalars(query)]


def _unsent_offers(session: Session, limit: int, after: After) -> list[Unsent]:
    query = (
        select(Device.id, Target.id, Target.envelope)
        .join(Target, Device.offer_id == Target.id)
        .where(_OFFER_UNSENT, _trust_is_new(session), Device.revoked_at.is_(None), Device.id > after[0], _free(Device))
        .order_by(Device.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Device)
    )
    return [Unsent(device_id, "offer", envelope, target) for device_id, target, envelope in session.execute(query)]


def _withdrawn_offers(session: Session, limit: int, after: After) -> list[Unsent]:
    query = (
        select(Device.id)
        .where(_OFFER_UNSENT, Device.offer_id.is_(None), Device.id > after[0], _free(Device))
        .order_by(Device.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Device)
    )
    return [Unsent(device_id, "offer", b"") for device_id in session.scalars(query)]


def _unsent_data(session: Session, limit: int, after: After) -> list[Unsent]:
    """A topic per component, so that no offer displaces another."""
    query = (
        select(DeviceData.device_id, DeviceData.name, DataTarget.id, DataTarget.envelope)
        .join(DataTarget, DeviceData.offer_id == DataTarget.id)
        .join(Device, Device.id == DeviceData.device_id)
        .where(_DATA_UNSENT, _trust_is_new(session), Device.revoked_at.is_(None), _after(after), _free(DeviceData))
        .order_by(DeviceData.device_id, DeviceData.name)
        .limit(limit)
        .with_for_update(skip_locked=True, of=DeviceData)
    )
    return [Unsent(row[0], f"offer/{row[1]}", row[3], row[2], row[1]) for row in session.execute(query)]


def _withdrawn_data(session: Session, limit: int, after: After) -> list[Unsent]:
    query = (
        select(DeviceData.device_id, DeviceData.name)
        .where(_DATA_UNSENT, DeviceData.offer_id.is_(None), _after(after), _free(DeviceData))
        .order_by(DeviceData.device_id, DeviceData.name)
        .limit(limit)
        .with_for_update(skip_locked=True, of=DeviceData)
    )
    return [Unsent(device_id, f"offer/{name}", b"", component=name) for device_id, name in session.execute(query)]


def _after(after: After) -> ColumnElement[bool]:
    return tuple_(DeviceData.device_id, DeviceData.name) > tuple_(literal(after[0]), literal(after[1]))


RETAINED = (
    Queue(_withdrawn_trust, Device, "trust_sent", device_events.trust_offered),
    Queue(_unsent_trust, Device, "trust_sent", device_events.trust_offered),
    Queue(_withdrawn_offers, Device, "offer_sent_id", device_events.release_offered),
    Queue(_withdrawn_data, DeviceData, "offer_sent_id", device_events.data_offered),
    Queue(_unsent_offers, Device, "offer_sent_id", device_events.release_offered),
    Queue(_unsent_data, DeviceData, "offer_sent_id", device_events.data_offered),
)


def is_anything_unsent(session: Session) -> bool:
    """Whether any queue may have something: asked all the time, so it is one statement that reads indexes alone."""
    trust = select(literal(1)).select_from(TrustUpdate).join(Device, _TRUST_UNSENT)
    found = (
        trust,
        select(Device.id).where(_OFFER_UNSENT),
        select(DeviceData.name).where(_DATA_UNSENT),
        select(literal(1)).select_from(TrustUpdate).join(Device, _TRUST_WITHDRAWN),
    )
    return bool(session.scalar(select(or_(*(one.limit(1).exists() for one in found)))))


def forget_sent(session: Session) -> None:
    """After the broker lost its retained messages: every offer and trust update must be published again."""
    sent = Device.offer_sent_id.is_not(None) | Device.trust_sent.is_not(None)
    session.execute(update(Device).where(sent).values(offer_sent_id=None, trust_sent=None))
    session.execute(update(DeviceData).where(DeviceData.offer_sent_id.is_not(None)).values(offer_sent_id=None))
