"""Rollouts: a release that was published is brought to a channel, or to one group, and taken from it again.

Groups say who gets it, all at once; `fleet/waves` has rollouts in waves.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ota_server.errors import Conflict, NotFound
from ota_server.fleet import rollout_progress
from ota_server.fleet.waves import retry as retry_of_waves
from ota_server.releases import slo
from ota_server.releases.lookup import find
from ota_server.releases.manifest_checks import check_offered
from ota_server.security import audit
from ota_server.store import Store, groups, now_ms, offers
from ota_server.store.models import ChannelRelease, Group, Release


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
        slo.check(session, product, now_ms())
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
        return {**rollout_progress.status(session, release), "started": started, "offers": offered, kind: name}


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
        return {**rollout_progress.status(session, release), "stopped": True, kind: name}


def retry(store: Store, product: str, version: str, actor: str) -> dict[str, Any]:
    """Offer the release once more to the devices that failed at it or wait before they try again.

    That is all a server can do: a device with a verdict of its own changes that for a signed command only
    (`update.retry`), and whoever has the key sends it to the devices in "retried".
    """
    with store.write() as session:
        groups.lock(session)
        release = find(session, product, version)
        check_offered(f"{product} {version}", any(target.withdrawn for target in release.targets))
        staged = retry_of_waves.again(session, product, version, actor)
        names = rollout_progress.in_states(session, release, ("failed", "retrying"))
        offers.send_again_all(session, names)
        if names:
            audit.record(
                session,
                actor,
                "rollout.retry",
                f"{product} {version}",
                sequence=release.sequence,
                devices=len(names),
            )
        session.flush()
        return {**rollout_progress.status(session, release), "retried": sorted({*names, *staged})}


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
    return [rollout_progress.progress(session, release) for release in session.scalars(statement).all()]
