"""How far a release has come: counts that the database makes, and its devices a page at a time, trouble first."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from ota_server.config import DEFAULT_PAGE
from ota_server.fleet import offer_state
from ota_server.store import devices as store_devices
from ota_server.store import groups, offers, steps
from ota_server.store.models import Device, Release

# In the order in which they are shown.
STATES = ("failed", "retrying", "waiting", "offered", "none", "running")
_COUNTED = ("waiting", "offered", "running", "retrying", "failed", "none")


class Page(NamedTuple):
    """Which devices: at most `limit`, after (rank of the state, id), of one `state` or of all."""

    limit: int = DEFAULT_PAGE
    after: tuple[int, str] | None = None
    state: str | None = None


class _View(NamedTuple):
    """What a release concerns, for statements over `device`."""

    is_mine: ColumnElement[bool]  # it is what the device is offered
    concerned: ColumnElement[bool]
    state: ColumnElement[str]
    pinned: list[str]
    channels: list[str]


def _view(session: Session, release: Release) -> _View:
    known = groups.listed(session)
    pinned = [group.name for group in known if group.release_id == release.id]
    channels = groups.channels(session, release.id)
    reached = [
        group.name
        for group in known
        if group.name in pinned or (group.channel in channels and not offers.is_pinned(group, release.product))
    ]
    is_mine = Device.offer_id.in_([target.id for target in release.targets])
    runs = Device.sequence == release.sequence
    concerned = (
        (Device.product == release.product) & Device.revoked_at.is_(None) & (is_mine | runs | Device.group.in_(reached))
    )
    digests = {target.id: target.image_digest for target in release.targets}
    offered = offer_state.image_state(_by_target(digests), release.sequence)
    state = case((is_mine, offered), (runs & Device.trial.is_(False), "running"), else_="none")
    return _View(is_mine, concerned, state, pinned, channels)


def _by_target(digests: dict[int, str]) -> Any:
    return case(digests, value=Device.offer_id, else_=None) if digests else None


def progress(session: Session, release: Release) -> dict[str, Any]:
    """Where the release is being rolled out, and how many devices are in which state."""
    return _progress(session, release, _view(session, release))


def _progress(session: Session, release: Release, view: _View) -> dict[str, Any]:
    counted = select(view.state, func.count()).where(view.concerned).group_by(view.state)
    found: dict[str, int] = {row[0]: row[1] for row in session.execute(counted)}
    return {
        "product": release.product,
        "version": release.version,
        "sequence": release.sequence,
        "channels": view.channels,
        "groups": view.pinned,
        "counts": {state: found.get(state, 0) for state in _COUNTED},
    }


def status(session: Session, release: Release, page: Page = Page()) -> dict[str, Any]:  # noqa: B008
    """The progress, and a page of the devices that the release concerns; `next` is what the next page comes after.

    A device's state is waiting, offered, running, retrying or failed, the last two with the reason why, or none with
    the reason why.
    """
    view = _view(session, release)
    rank = case({state: at for at, state in enumerate(STATES)}, value=view.state)
    statement = select(Device.id, view.state, rank).where(view.concerned)
    if page.state is not None:
        statement = statement.where(view.state == page.state)
    if page.after is not None:
        after_rank, after_id = page.after
        statement = statement.where((rank > after_rank) | ((rank == after_rank) & (Device.id > after_id)))
    rows = session.execute(statement.order_by(rank, Device.id).limit(page.limit)).all()
    loaded = store_devices.with_offers(session, select(Device).where(Device.id.in_([row[0] for row in rows])))
    devices = {device.id: device for device in loaded}
    mine = {target.id for target in release.targets}
    return {
        **_progress(session, release, view),
        "devices": [
            _device(session, devices[device_id], release, devices[device_id].offer_id in mine, state)
            for device_id, state, _ in rows
        ],
        "next": f"{rows[-1][2]}-{rows[-1][0]}" if len(rows) == page.limit else None,
    }


def in_states(session: Session, release: Release, states: tuple[str, ...]) -> list[str]:
    """The ids of the devices that are in one of the states."""
    view = _view(session, release)
    statement = select(Device.id).where(view.concerned, view.state.in_(states)).order_by(Device.id)
    return list(session.scalars(statement))


def _device(session: Session, device: Device, release: Release, mine: bool, state: str) -> dict[str, Any]:
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
        "why": _why_none(session, device, release) if state == "none" else offer_state.why(device, state),
    }


def _why_none(session: Session, device: Device, release: Release) -> str:
    target = next((target for target in release.targets if target.board == device.board), None)
    if target is None:
        return f"the release has no image for {device.board}"
    if (device.sequence or 0) > release.sequence:
        return f"runs {device.version}, which is newer"
    way = steps.way(session, target, device.sequence, device.micropython)
    if device.offer is not None and device.offer in way.targets:
        return f"goes through {device.offer.release.version} first"
    if device.offer is not None:
        return f"is offered {device.offer.release.version}, which is newer"
    return way.why or "is offered nothing"
