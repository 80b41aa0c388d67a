"""Releases that others need: what a device is offered on its way to one that it may not take yet.

A release may need that a device comes from a release of some sequence number or newer, and a MicroPython. A device
that runs something older is offered the first published release from that number on, and what it was meant to have
after it has confirmed that one. A device whose MicroPython is too old, or that has not said yet what it runs, is
offered nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session, joinedload, object_session

from ota_server.store.models import Device, Release, Target
from tidegate import manifest

_UNKNOWN = "it has not said yet what it runs"


class Kind(NamedTuple):
    """Devices that are alike in what counts here, and why they are offered nothing."""

    board: str
    runs: int | None
    python: str | None
    why: str

    @property
    def condition(self) -> ColumnElement[bool]:
        same = (Device.board == self.board) & Device.sequence.is_not_distinct_from(self.runs)
        return same & Device.micropython.is_not_distinct_from(self.python)


class Way(NamedTuple):
    """The releases that a device takes one after the other, the last is what it is meant to have; or `why` none."""

    targets: tuple[Target, ...]
    why: str | None = None


def needs(target: Target) -> manifest.Needs:
    return manifest.Needs(target.needs_sequence, target.needs_micropython)


def before(
    session: Session,
    product: str,
    board: str,
    sequence: int,
    asks: manifest.Needs,
    runs: int | None,
    python: str | None,
) -> Way:
    """What comes before a release of this sequence number that needs `asks`, for a device that runs `runs`."""
    if asks == manifest.Needs():
        return Way(())
    if runs is None:
        return Way((), _UNKNOWN)
    found: list[Target] = []
    below, least, first = sequence, asks.sequence, asks.micropython
    while least > runs:
        between = select(Target).join(Release).where(Release.product == product, Target.board == board)
        between = between.where(Target.withdrawn.is_(False), Release.sequence >= least, Release.sequence < below)
        one = session.scalar(between.order_by(Release.sequence).limit(1).options(joinedload(Target.release)))
        if one is None:
            return Way((), f"it must come from sequence {least} or newer, and none that it could take is published")
        found.insert(0, one)
        below, least, first = one.release.sequence, one.needs_sequence, one.needs_micropython
    has = manifest.micropython_number(python)
    if first and (has is None or has < (manifest.micropython_number(first) or ())):
        return Way((), f"it needs MicroPython {first} or newer, and has {python or 'not said which it has'}")
    return Way(tuple(found))


def way(session: Session, target: Target, runs: int | None, python: str | None) -> Way:
    """The same for a stored release, which then is the last of them."""
    release = target.release
    found = before(session, release.product, target.board, release.sequence, needs(target), runs, python)
    return found if found.why else Way((*found.targets, target))


def first(session: Session, target: Target | None, runs: int | None, python: str | None) -> Target | None:
    """What to offer now to a device that is meant to have `target`."""
    if target is None or not is_needy(target):
        return target
    found = way(session, target, runs, python)
    return None if found.why else found.targets[0]


def kept_back(target: Target) -> list[Kind]:
    """The kinds of devices that may not take the target, and to which no way leads."""
    session, release = object_session(target), target.release
    if session is None:
        raise ValueError("the target is of no session")
    kinds = select(Device.sequence, Device.micropython).where(Device.product == release.product)
    kinds = kinds.where(Device.board == target.board, func.coalesce(Device.sequence, 0) < release.sequence).distinct()
    ways = [(row, way(session, target, *row)) for row in session.execute(kinds).all()]
    return [Kind(target.board, runs, python, found.why) for (runs, python), found in ways if found.why]


def is_needy(target: Target) -> bool:
    return needs(target) != manifest.Needs()


_NEEDY = (Target.needs_sequence > 0) | (Target.needs_micropython != "")


def any_needy(session: Session, product: str) -> bool:
    """Whether any release of the product needs something; most products have none, and nothing more is looked for."""
    found = select(Target.id).join(Release).where(Release.product == product, _NEEDY)
    return session.scalar(found.limit(1)) is not None


def put_first(session: Session, alike: ColumnElement[bool]) -> None:
    """Of the devices that are `alike`, offer those that may not take what they are offered what comes before it."""
    kinds = select(Device.offer_id, Device.sequence, Device.micropython).join(Target, Target.id == Device.offer_id)
    for offer_id, runs, python in session.execute(kinds.where(alike, _NEEDY).distinct()).all():
        target = session.get_one(Target, offer_id)
        now = first(session, target, runs, python)
        if now is not target:
            these = alike & (Device.offer_id == offer_id) & Device.sequence.is_not_distinct_from(runs)
            these &= Device.micropython.is_not_distinct_from(python)
            session.execute(update(Device).where(these).values(offer_id=None if now is None else now.id))
