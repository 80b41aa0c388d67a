"""What each device is offered, derived from its group.

A group that is pinned to a release of a product has its devices offered that one. Every other group follows a
channel: the newest release that stands in it and has an image for the board, or a newer one that a rollout in waves
has granted to the device (`grants`). What that release needs comes first (`steps`). A device is never offered a
release that is older than what it runs, because it would refuse it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, and_, false, func, select, update
from sqlalchemy.orm import Session

from ota_server.store import grants, groups, steps
from ota_server.store.models import ChannelRelease, Device, DeviceData, Group, Release, Target

_CHUNK = 500  # device ids in one statement


def head(session: Session, channel: str, product: str) -> Release | None:
    """The newest release of the product in the channel, whatever boards it is for."""
    statement = select(Release).join(ChannelRelease, ChannelRelease.release_id == Release.id)
    statement = statement.where(ChannelRelease.channel == channel, Release.product == product)
    return session.scalar(statement.order_by(Release.sequence.desc()).limit(1))


def target_for(session: Session, group: Group, product: str, board: str) -> Target | None:
    """What the group's devices of this product and board should run; None also when it was withdrawn."""
    statement = select(Target).join(Release).where(Release.product == product, Target.board == board)
    if is_pinned(group, product):
        statement = statement.where(Release.id == group.release_id)
    else:
        statement = statement.join(ChannelRelease, ChannelRelease.release_id == Release.id)
        statement = statement.where(ChannelRelease.channel == group.channel)
    target = session.scalar(statement.order_by(Release.sequence.desc()).limit(1))
    return None if target is None or target.withdrawn else target


def is_pinned(group: Group, product: str) -> bool:
    """Whether a release is set for the group's devices of this product, whatever the channel holds."""
    return group.release is not None and group.release.product == product


def derive(
    session: Session,
    *,
    product: str | None = None,
    only: Iterable[str] | None = None,
    devices: Sequence[str] | None = None,
) -> int:
    """Derive the offers again; returns how many devices got another one.

    Of all devices, of a product, of some groups (`only`), or of `devices` by their ids.

    The caller holds `groups.lock`. The worker publishes what changed.
    """
    statement = select(Device.group, Device.product, Device.board).distinct()
    if product is not None:
        statement = statement.where(Device.product == product)
    if only is not None:
        statement = statement.where(Device.group.in_(list(only)))
    if devices is not None:
        statement = statement.where(Device.id.in_(devices))
    known = {group.name: group for group in groups.listed(session)}
    changed = 0
    for name, of_product, board in session.execute(statement).all():
        alike = and_(Device.group == name, Device.product == of_product, Device.board == board)
        if devices is not None:
            alike &= Device.id.in_(devices)
        target = target_for(session, known[name], of_product, board)
        granted = not is_pinned(known[name], of_product) and grants.any_of(session, of_product)
        changed += _offer(session, alike, target, granted)
        if steps.any_needy(session, of_product):
            steps.put_first(session, alike)
    return changed


def derive_for(session: Session, device: Device) -> None:
    """Derive the offer of one device again: after a birth, which says what it runs, or when it came into a group."""
    session.flush()
    group = groups.get(session, device.group)
    target = None if group is None else target_for(session, group, device.product, device.board)
    granted = group is not None and not is_pinned(group, device.product)
    _offer(session, Device.id == device.id, target, granted)
    if steps.any_needy(session, device.product):
        steps.put_first(session, Device.id == device.id)
    session.refresh(device, ["offer_id", "offer_sent_id", "offer"])


def send_again(session: Session, device: Device) -> None:
    """Have the worker give the broker once more what the device is offered, its data components too."""
    device.offer_sent_id = None
    send_again_all(session, [device.id])


def send_again_all(session: Session, device_ids: Sequence[str]) -> None:
    """The same for many."""
    for start in range(0, len(device_ids), _CHUNK):
        some = device_ids[start : start + _CHUNK]
        session.execute(update(Device).where(Device.id.in_(some)).values(offer_sent_id=None))
        components = update(DeviceData).where(DeviceData.device_id.in_(some), DeviceData.offer_id.is_not(None))
        session.execute(components.values(offer_sent_id=None))


def _offer(session: Session, alike: ColumnElement[bool], target: Target | None, granted: bool) -> int:
    """Offer `target` to the devices that are `alike`, and nothing to those that run something newer.

    `granted`: unless a rollout granted them a newer one.
    """
    sequence = 0 if target is None else target.release.sequence
    held = grants.standing(sequence) if granted else false()
    none = alike & Device.offer_id.is_not(None) & ~held
    if target is not None:
        ahead = (func.coalesce(Device.sequence, 0) > sequence) | Device.revoked_at.is_not(None)
        none &= ahead
    # As sent: the broker may have it, also if a birth has requested it again since. The worker withdraws it.
    session.execute(update(Device).where(none).values(offer_id=None, offer_sent_id=Device.offer_id))
    changed = 0
    if target is not None:
        new = update(Device).where(alike, ~ahead, ~held, Device.offer_id.is_distinct_from(target.id))
        changed = session.execute(new.values(offer_id=target.id)).rowcount  # type: ignore[attr-defined]
    return changed + (grants.offer(session, alike, sequence) if granted else 0)
