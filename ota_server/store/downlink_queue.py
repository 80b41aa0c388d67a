"""What goes down to devices: trust updates, offers of releases and of data, commands.

Over CoAP a device reads or observes them as resources. Over MQTT the worker publishes what the broker does not have yet
(`RETAINED`), retained, so that a device that is away finds it later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ota_server.store.commands import waiting
from ota_server.store.models import Command, DataTarget, Device, DeviceData, Target, TrustUpdate, now_ms
from ota_server.store.trust_updates import newest_version

_CHUNK = 500  # device ids in one statement


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
    return session.scalar(statement.where(Device.id == device_id)) or b""


def waiting_commands(session: Session, device_id: str) -> list[int]:
    """Rows of the commands that wait for a device, oldest first."""
    statement = select(Command.id).where(Command.device_id == device_id, waiting(now_ms()))
    return list(session.scalars(statement.order_by(Command.id)))


class Standing(NamedTuple):
    """What decides what a device can read; observers are notified when it changes."""

    trust: int
    newest_trust: int
    offer: int | None
    data: tuple[tuple[str, int | None], ...]
    command: int | None  # the oldest that waits


def standings(session: Session, device_ids: Iterable[str]) -> dict[str, Standing]:
    """Of several devices at once."""
    out: dict[str, Standing] = {}
    ids, now, newest = sorted(device_ids), now_ms(), newest_version(session)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        data: dict[str, list[tuple[str, int | None]]] = {}
        held = select(DeviceData.device_id, DeviceData.name, DeviceData.offer_id)
        for device_id, name, target in session.execute(held.where(DeviceData.device_id.in_(chunk))).all():
            data.setdefault(device_id, []).append((name, target))
        oldest = select(Command.device_id, func.min(Command.id)).where(waiting(now), Command.device_id.in_(chunk))
        commands = {row[0]: row[1] for row in session.execute(oldest.group_by(Command.device_id)).all()}
        devices = select(Device.id, Device.trust_version, Device.offer_id).where(Device.id.in_(chunk))
        for device_id, trust, target in session.execute(devices).all():
            about = tuple(sorted(data.get(device_id, ())))
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

    unsent: what the broker does not have, at most so many rows. mark_sent: notes that the broker has it.
    """

    unsent: Callable[[Session, int], list[Unsent]]
    mark_sent: Callable[[Session, Unsent], None]


def _unsent_trust(session: Session, limit: int) -> list[Unsent]:
    """The next trust update of each device that is behind."""
    query = (
        select(Device.id, TrustUpdate.version, TrustUpdate.document)
        .join(TrustUpdate, TrustUpdate.version == Device.trust_version + 1)
        .where(Device.trust_sent.is_distinct_from(TrustUpdate.version), Device.revoked_at.is_(None))
        .order_by(Device.id)
        .limit(limit)
    )
    return [Unsent(device_id, "trust", document, version) for device_id, version, document in session.execute(query)]


def _unsent_offers(session: Session, limit: int) -> list[Unsent]:
    """Offers of releases.

    A device whose trust store is behind is updated first: it could refuse a good release for its keys.
    """
    query = (
        select(Device.id, Target.id, Target.envelope)
        .join(Target, Device.offer_id == Target.id)
        .where(
            Device.offer_id.is_distinct_from(Device.offer_sent_id),
            func.coalesce(Device.trust_version, 0) >= newest_version(session),
            Device.revoked_at.is_(None),
        )
        .order_by(Device.id)
        .limit(limit)
    )
    return [Unsent(device_id, "offer", envelope, target) for device_id, target, envelope in session.execute(query)]


def _withdrawn_offers(session: Session, limit: int) -> list[Unsent]:
    query = select(Device.id).where(Device.offer_id.is_(None), Device.offer_sent_id.is_not(None))
    return [Unsent(device_id, "offer", b"") for device_id in session.scalars(query.order_by(Device.id).limit(limit))]


def _unsent_data(session: Session, limit: int) -> list[Unsent]:
    """Offers of data, after trust updates; a topic per component, so that no offer displaces another."""
    query = (
        select(DeviceData.device_id, DeviceData.name, DataTarget.id, DataTarget.envelope)
        .join(DataTarget, DeviceData.offer_id == DataTarget.id)
        .join(Device, Device.id == DeviceData.device_id)
        .where(
            DeviceData.offer_id.is_distinct_from(DeviceData.offer_sent_id),
            func.coalesce(Device.trust_version, 0) >= newest_version(session),
            Device.revoked_at.is_(None),
        )
        .order_by(DeviceData.device_id, DeviceData.name)
        .limit(limit)
    )
    return [Unsent(row[0], f"offer/{row[1]}", row[3], row[2], row[1]) for row in session.execute(query)]


def _withdrawn_data(session: Session, limit: int) -> list[Unsent]:
    query = select(DeviceData.device_id, DeviceData.name).where(
        DeviceData.offer_id.is_(None), DeviceData.offer_sent_id.is_not(None)
    )
    rows = session.execute(query.order_by(DeviceData.device_id, DeviceData.name).limit(limit))
    return [Unsent(device_id, f"offer/{name}", b"", component=name) for device_id, name in rows]


def _trust_sent(session: Session, sent: Unsent) -> None:
    session.execute(update(Device).where(Device.id == sent.device_id).values(trust_sent=sent.number))


def _offer_sent(session: Session, sent: Unsent) -> None:
    session.execute(update(Device).where(Device.id == sent.device_id).values(offer_sent_id=sent.number))


def _data_sent(session: Session, sent: Unsent) -> None:
    component = (DeviceData.device_id == sent.device_id) & (DeviceData.name == sent.component)
    session.execute(update(DeviceData).where(component).values(offer_sent_id=sent.number))


RETAINED = (
    Queue(_unsent_trust, _trust_sent),
    Queue(_withdrawn_offers, _offer_sent),
    Queue(_withdrawn_data, _data_sent),
    Queue(_unsent_offers, _offer_sent),
    Queue(_unsent_data, _data_sent),
)


def forget_sent(session: Session) -> None:
    """After the broker lost its retained messages: every offer and trust update must be published again."""
    session.execute(update(Device).values(offer_sent_id=None, trust_sent=None))
    session.execute(update(DeviceData).values(offer_sent_id=None))
