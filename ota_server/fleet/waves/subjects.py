"""Looks up what a rollout is to bring, and hands its grants to what offers it to devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ota_server.errors import Conflict, NotFound
from ota_server.releases.lookup import find as find_release
from ota_server.releases.manifest_checks import check_offered
from ota_server.store import data, groups, offers, rollout_states, rollout_subjects, trust_updates
from ota_server.store.models import DataTarget, Device, DeviceData, Release, Rollout, RolloutDevice, Target, TrustUpdate
from ota_server.store.rollout_subjects import Facts
from tidegate.errors import TidegateError
from tidegate.rollout import Terms, subject

_CHUNK = 500  # device ids in one statement


def find(session: Session, product: str, version: str) -> tuple[Facts, Release | None]:
    """What is published as `version` (tidegate.rollout.subject), and its row if it is a release. Raises NotFound."""
    if "@" not in version:
        release = find_release(session, product, version)
        return rollout_subjects.of_release(release), release
    try:
        found = subject.parse(version)
    except TidegateError as wrong:
        raise NotFound("no-such-subject", wrong.message, wrong.remedy) from None
    if found.kind == "trust":
        if session.get(TrustUpdate, int(found.version)) is None:
            raise NotFound(
                "no-such-trust-update",
                f"no update to version {found.version} of the trust store is published here",
                "Publish it first: tidegate trust publish FILE --hold",
            )
        return rollout_subjects.of_trust(session, product, int(found.version)), None
    targets = data.by_version(session, product, found.component, found.version)
    if not targets:
        raise NotFound(
            "no-such-data",
            f"version {found.version} of the data component {found.component} of {product} is not published here",
            "Publish it first: tidegate data publish DIR --hold",
        )
    return rollout_subjects.of_data(product, version, targets), None


def check_usable(facts: Facts, release: Release | None) -> None:
    """Conflict if it was withdrawn, a release from one of its boards or more."""
    gone = not facts.is_usable if release is None else any(target.withdrawn for target in release.targets)
    check_offered(f"{facts.product} {facts.version}", gone)


def check_waves_hold(session: Session, facts: Facts, release: Release | None, terms: Terms, now: int) -> None:
    """Conflict if devices that are to wait for their wave have the offer already."""
    if release is not None:
        _check_channels(session, release.id, facts, terms, now)
        return
    if facts.kind == "trust":
        newest, verb = trust_updates.newest_version(session), "trust publish FILE"
    else:
        newest_of = select(func.max(DataTarget.sequence)).where(
            DataTarget.product == facts.product, DataTarget.name == facts.component, DataTarget.held.is_(False)
        )
        newest, verb = session.scalar(newest_of) or 0, "data publish DIR"
    if newest >= facts.sequence:
        what = "it" if newest == facts.sequence else f"a newer one (sequence {newest})"
        raise Conflict(
            "offered-already",
            f"all devices are offered {what} already: it was not held back",
            f"What is to go out in waves is published with: tidegate {verb} --hold",
        )


def _check_channels(session: Session, release_id: int, facts: Facts, terms: Terms, now: int) -> None:
    """Waves hold nothing back from devices that have the offer by way of their channel."""
    offered = select(Device.group).join(Target, Target.id == Device.offer_id).where(Target.release_id == release_id)
    offered = offered.where(
        rollout_states.selected(terms, facts, now),
        rollout_states.why_excused(facts).is_(None),
        Device.id.not_in(select(RolloutDevice.device_id).where(RolloutDevice.withdrawn_at.is_(None))),
    )
    group = session.scalar(offered.limit(1))
    if group is not None:
        known = groups.get(session, group)
        channel = groups.STABLE if known is None else known.channel
        raise Conflict(
            "offered-already",
            f"devices of group {group} are offered it already, because it stands in the channel {channel}",
            f"Take it out of there first: tidegate rollout stop VERSION --channel {channel}",
        )


def row(facts: Facts, release: Release | None) -> Rollout:
    """A new rollout of it, without terms."""
    if release is not None:
        return Rollout(release_id=release.id, release=release)
    return Rollout(
        subject_product=facts.product, subject_version=facts.version, subject_sequence=facts.sequence, release=None
    )


def granted(facts: Facts, board: str) -> dict[str, Any]:
    """The columns of `RolloutDevice` that say what a device of this board is granted."""
    if facts.kind == "release":
        return {"target_id": facts.targets[board]}
    if facts.kind == "data":
        return {"data_target_id": facts.targets[board]}
    return {"trust_version": facts.sequence}


def versions(session: Session, facts: Facts, device_ids: Sequence[str]) -> dict[str, str | None]:
    """What the devices have of the same kind, for people."""
    if facts.kind != "data":
        column = Device.version if facts.kind == "release" else Device.trust_version
        rows = session.execute(select(Device.id, column).where(Device.id.in_(device_ids))).all()
        return {device: None if version is None else str(version) for device, version in rows}
    held = select(DeviceData.device_id, DeviceData.sequence, DataTarget.version)
    held = held.join(Device, Device.id == DeviceData.device_id).outerjoin(
        DataTarget,
        (DataTarget.product == Device.product)
        & (DataTarget.board == Device.board)
        & (DataTarget.name == DeviceData.name)
        & (DataTarget.sequence == DeviceData.sequence),
    )
    mine = held.where(
        DeviceData.name == facts.component, DeviceData.device_id.in_(device_ids), DeviceData.sequence.is_not(None)
    )
    return {device: version or f"sequence {sequence}" for device, sequence, version in session.execute(mine).all()}


def offer(session: Session, facts: Facts, device_ids: Sequence[str]) -> None:
    """Derive again what these devices are offered, after their grants were changed; the caller has locked them."""
    if facts.kind == "release":
        offers.derive(session, devices=device_ids)
    elif facts.kind == "data":
        data.derive(session, device_ids, facts.component)
    # What a device may have of trust updates is looked up when they are sent (trust_updates.may_have).


def offer_again(session: Session, facts: Facts, device_ids: Sequence[str]) -> None:
    """Have the worker publish it once more."""
    for start in range(0, len(device_ids), _CHUNK):
        some = device_ids[start : start + _CHUNK]
        if facts.kind == "trust":
            session.execute(update(Device).where(Device.id.in_(some)).values(trust_sent=None))
    if facts.kind != "trust":
        offers.send_again_all(session, device_ids)
