"""Rollouts: a release that was published is brought to a channel, or to one group, and taken from it again.

Groups say who gets it; there are no waves or percentages.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from ota_server.errors import Conflict, NotFound
from ota_server.fleet import offer_state
from ota_server.releases.manifest_checks import check_offered
from ota_server.security import audit
from ota_server.store import Store, groups, offers
from ota_server.store import releases as stored
from ota_server.store.models import ChannelRelease, Device, Group, Release, Target


def find(session: Session, product: str, version: str) -> Release:
    """The newest release of this version. Raises NotFound."""
    release = stored.by_version(session, product, version)
    if release is None:
        raise NotFound(
            "no-such-release",
            f"{product} {version} is not published here, or was withdrawn",
            "Publish it first: tidegate release publish DIR",
        )
    return release


def find_group(session: Session, name: str) -> Group:
    group = groups.get(session, name)
    if group is None:
        raise NotFound("no-such-group", f"there is no group {name[:64]}", "tidegate group list shows the groups")
    return group


def start(store: Store, product: str, version: str, where: tuple[str, str], actor: str) -> dict[str, Any]:
    """Bring a release to `where`: ("channel", name) or ("group", name), which is pinned to it. Again is harmless."""
    kind, name = where
    with store.write() as session:
        groups.lock(session)
        release = find(session, product, version)
        check_offered(f"{product} {version}", any(target.withdrawn for target in release.targets))
        if kind == "group":
            group = find_group(session, name)
            started = group.release_id != release.id
            group.release_id, group.release = release.id, release
        else:
            started = _join(session, name, release)
        session.flush()
        offered = offers.derive(session, product=product) if started else 0
        if started:
            audit.record(
                session,
                actor,
                "rollout.start",
                f"{product} {version}",
                sequence=release.sequence,
                offered=offered,
                **{kind: name},
            )
        return {**status(session, release), "started": started, "offers": offered, kind: name}


def stop(store: Store, product: str, version: str, where: tuple[str, str], actor: str) -> dict[str, Any]:
    """Stop offering the release by way of `where`. Devices that have installed it stay as they are."""
    kind, name = where
    with store.write() as session:
        groups.lock(session)
        release = find(session, product, version)
        if kind == "group":
            group = find_group(session, name)
            stopped = group.release_id == release.id
            if stopped:
                group.release_id, group.release = None, None
        else:
            row = session.get(ChannelRelease, (name, release.id))
            stopped = row is not None
            session.execute(
                delete(ChannelRelease).where(ChannelRelease.channel == name, ChannelRelease.release_id == release.id)
            )
        if not stopped:
            raise Conflict(
                "no-rollout",
                f"{product} {version} is not being rolled out to {kind} {name}",
                "tidegate rollout status shows what is",
            )
        session.flush()
        offers.derive(session, product=product)
        audit.record(session, actor, "rollout.stop", f"{product} {version}", sequence=release.sequence, **{kind: name})
        return {**status(session, release), "stopped": True, kind: name}


def retry(store: Store, product: str, version: str, actor: str) -> dict[str, Any]:
    """Offer the release once more to the devices that failed at it or wait before they try again.

    That is all a server can do: a device with a verdict of its own changes that for a signed command only
    (`update.retry`), and whoever has the key sends it to the devices in "retried".
    """
    with store.write() as session:
        groups.lock(session)
        release = find(session, product, version)
        check_offered(f"{product} {version}", any(target.withdrawn for target in release.targets))
        rows = [row for row in status(session, release)["devices"] if row["state"] in ("failed", "retrying")]
        for row in rows:
            device = session.get(Device, row["id"])
            if device is not None:
                offers.send_again(session, device)
        if rows:
            audit.record(
                session,
                actor,
                "rollout.retry",
                f"{product} {version}",
                sequence=release.sequence,
                devices=len(rows),
            )
        session.flush()
        return {**status(session, release), "retried": [row["id"] for row in rows]}


def _join(session: Session, channel: str, release: Release) -> bool:
    """Put the release into the channel; whether it was not there."""
    if session.get(ChannelRelease, (channel, release.id)) is not None:
        return False
    newest = offers.head(session, channel, release.product)
    if newest is not None and newest.sequence > release.sequence:
        raise Conflict(
            "not-newest",
            f"the channel {channel} has {newest.version} already, which is newer than {release.version}",
            f"Stop that first: tidegate rollout stop {newest.version} --channel {channel}",
        )
    session.add(ChannelRelease(channel=channel, release_id=release.id))
    return True


def listed(session: Session, product: str | None) -> list[dict[str, Any]]:
    """Every release that some group is pinned to or that is the newest of its channel, newest first, with counts."""
    ids = set(session.scalars(select(Group.release_id).where(Group.release_id.is_not(None))))
    pairs = select(ChannelRelease.channel, Release.product).join(Release, Release.id == ChannelRelease.release_id)
    for channel, of_product in session.execute(pairs.distinct()).all():
        newest = offers.head(session, channel, of_product)
        ids |= {newest.id} if newest is not None else set()
    statement = select(Release).where(Release.id.in_(ids)).order_by(Release.id.desc())
    if product is not None:
        statement = statement.where(Release.product == product)
    rows = []
    for release in session.scalars(statement).all():
        progress = status(session, release)
        del progress["devices"]
        rows.append(progress)
    return rows


def status(session: Session, release: Release) -> dict[str, Any]:
    """How far a release has come: where it is being rolled out, and the state of each device that it concerns.

    A device's state is waiting, offered, running, retrying or failed, the last two with the reason why, or none with
    the reason why.
    """
    known = groups.listed(session)
    pinned = [group.name for group in known if group.release_id == release.id]
    standing = groups.channels(session, release.id)
    reached = {
        group.name
        for group in known
        if group.name in pinned or (group.channel in standing and not offers.is_pinned(group, release.product))
    }
    statement = select(Device).where(Device.product == release.product, Device.revoked_at.is_(None)).order_by(Device.id)
    devices = []
    boards = {target.board for target in release.targets}
    for device in session.scalars(statement.options(joinedload(Device.offer).joinedload(Target.release))):
        mine = device.offer is not None and device.offer.release_id == release.id
        if not mine and device.sequence != release.sequence and device.group not in reached:
            continue
        devices.append(_device(device, release, mine, boards))
    counts = dict.fromkeys(("waiting", "offered", "running", "retrying", "failed", "none"), 0)
    for row in devices:
        counts[row["state"]] += 1
    return {
        "product": release.product,
        "version": release.version,
        "sequence": release.sequence,
        "channels": standing,
        "groups": pinned,
        "counts": counts,
        "devices": devices,
    }


def _device(device: Device, release: Release, mine: bool, boards: set[str]) -> dict[str, Any]:
    state: str = (offer_state.of_image(device) if mine else None) or "none"
    why = None
    if not mine and device.sequence == release.sequence and not device.trial:
        state = "running"
    elif state == "none":
        why = _why_none(device, release, boards)
    else:
        why = offer_state.why(device, state)
    return {
        "id": device.id,
        "name": device.name,
        "group": device.group,
        "board": device.board,
        "online": device.online,
        "version": device.version,
        "sequence": device.sequence,
        "state": state,
        "phase": (device.update or {}).get("phase") if mine else None,
        "again_s": (device.update or {}).get("again_s") if state == "retrying" else None,
        "why": why,
    }


def _why_none(device: Device, release: Release, boards: set[str]) -> str:
    if device.board not in boards:
        return f"the release has no image for {device.board}"
    if (device.sequence or 0) > release.sequence:
        return f"runs {device.version}, which is newer"
    if device.offer is not None:
        return f"is offered {device.offer.release.version}, which is newer"
    return "is offered nothing"
