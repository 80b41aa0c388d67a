"""What rollouts in waves bring to devices: a release, the content of a data component, or a trust store.

Here: what decides who may have it, in the words of the database, so that everything else treats the three alike.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from ota_server.store import data, rollout_reports, steps, trust_updates
from ota_server.store.models import DataTarget, Device, DeviceData, Group, Release, Rollout
from tidegate.rollout import subject, waves


class Facts(NamedTuple):
    """What a rollout brings, and who gets nothing of it.

    version: as people call it. targets: board -> the id of what is offered there, which was not withdrawn; none of a
    trust store. excused: conditions on a row of `Device` with the reason why it gets nothing.
    """

    kind: Literal["release", "data", "trust"]
    product: str
    version: str
    sequence: int
    targets: dict[str, int]
    excused: tuple[tuple[ColumnElement[bool], str], ...]
    is_usable: bool = True  # False: withdrawn from all boards

    @property
    def component(self) -> str:
        """The data component's name, "trust" for a trust store, "" for a release."""
        return "" if self.kind == "release" else self.version.partition("@")[0]

    @property
    def key(self) -> str:
        """What the places of devices are hashed with (tidegate.rollout.place)."""
        return waves.key(f"{self.product}/{self.component}" if self.component else self.product, self.sequence)


def of_rollout(session: Session, rollout: Rollout) -> Facts:
    if rollout.release is not None:
        return of_release(rollout.release)
    found = subject.parse(rollout.version)
    if found.kind == "trust":
        return of_trust(session, rollout.product, rollout.sequence)
    targets = data.of_number(session, rollout.product, found.component, rollout.sequence)
    return of_data(rollout.product, str(found), targets)


def of_release(release: Release) -> Facts:
    usable = [target for target in release.targets if not target.withdrawn]
    elsewhere = select(Group.name).join(Release, Release.id == Group.release_id)
    elsewhere = elsewhere.where(Release.product == release.product, Group.release_id != release.id)
    runs = or_(
        func.coalesce(Device.sequence, 0) == release.sequence,
        *(and_(Device.board == target.board, Device.digest == target.image_digest) for target in usable),
    )
    kept_back = (kind for target in usable if steps.is_needy(target) for kind in steps.kept_back(target))
    return Facts(
        "release",
        release.product,
        release.version,
        release.sequence,
        {target.board: target.id for target in usable},
        (
            (Device.board.not_in([target.board for target in usable]), "the release has no image for its board"),
            (Device.group.in_(elsewhere), "its group is pinned to another release"),
            (func.coalesce(Device.sequence, 0) > release.sequence, "it runs a newer release"),
            (runs, "it runs the release already"),
            (func.coalesce(Device.failed_sequence, 0) >= release.sequence, "it failed at the release before"),
            *((kind.condition, kind.why) for kind in kept_back),
        ),
        bool(usable),
    )


def of_data(product: str, version: str, targets: list[DataTarget]) -> Facts:
    """targets: of the boards that it was published for, of one name and sequence number; at least one."""
    usable = [target for target in targets if not target.withdrawn]
    name, sequence = targets[0].name, targets[0].sequence

    def component(condition: ColumnElement[bool]) -> ColumnElement[bool]:
        mine = select(DeviceData.name).where(DeviceData.device_id == Device.id, DeviceData.name == name, condition)
        return mine.correlate(Device).exists()

    same = (and_(Device.board == target.board, DeviceData.digest == target.digest) for target in usable)
    return Facts(
        "data",
        product,
        version,
        sequence,
        {target.board: target.id for target in usable},
        (
            (Device.board.not_in([target.board for target in usable]), f"there is no {name} for its board"),
            (Device.takes_data.is_(False), rollout_reports.NO_DATA),
            (component(DeviceData.sequence > sequence), f"it holds a newer {name}"),
            (component(or_(DeviceData.sequence == sequence, *same)), f"it holds this {name} already"),
            (component(DeviceData.failed_sequence >= sequence), f"it failed at this {name} before"),
        ),
        bool(usable),
    )


def of_trust(session: Session, product: str, version: int) -> Facts:
    """A device takes one version after the other, so all between its own and this one must be published here."""
    first = trust_updates.first_on_the_way(session, version)
    has = func.coalesce(Device.trust_version, 0)
    return Facts(
        "trust",
        product,
        f"{subject.TRUST}@{version}",
        version,
        {},
        (
            (Device.trust_version.is_(None), "it has not said yet which trust store it has"),
            (has >= version, "it has this trust store already"),
            (has < first - 1, "updates that come before it were never published here"),
        ),
    )
