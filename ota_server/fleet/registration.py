"""Registering many devices in one transaction: all of them, or none and why.

A list that is sent again changes nothing: a device that is there as listed stays as it is. Its credentials are given
back only to whoever sends the same `request`, a random number that the sender made before it sent the list first, and
only until the device has been heard: an answer that got lost is repeated, and nobody else learns anything. Nothing is
stored for that: each device's salt is derived from the request, so that the salt says which request it came by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.errors import Conflict
from ota_server.security import audit, password_hashes
from ota_server.security.device_credentials import SALT, Keys
from ota_server.store import devices, now_ms
from ota_server.store.models import Claim, CoapSession, Device

_NAMED = 3  # devices in a sentence
_FOR_SALT = b"tidegate registration 1\0"


class Wanted(NamedTuple):
    """A device as it is to be registered."""

    id: str
    board: str
    product: str


class Issued(NamedTuple):
    """A device with its credentials."""

    device: Wanted
    password: str
    coap_key: bytes


class Registered(NamedTuple):
    """new: registered now, or by the same request before; known: ids of devices that were there as listed.

    made: ids of those registered now, whose credentials brokers do not have yet.
    """

    new: list[Issued]
    known: list[str]
    made: list[str]


def register(session: Session, keys: Keys, request: bytes, wanted: Sequence[Wanted], actor: str) -> Registered:
    """Register these devices, whose ids differ. Raises Conflict, and then nothing may be committed."""
    audit.take_turn(session)  # before the look: two lists with the same device come one after the other
    ids = [one.id for one in wanted]
    there = {row.id: row for row in session.scalars(select(Device).where(Device.id.in_(ids)))}
    _check_there(there, wanted)
    _check_names(session, [name for name in ids if name not in there])
    mine = select(CoapSession).where(CoapSession.device_id.in_(list(there)))
    credentials = {row.device_id: row for row in session.scalars(mine)}
    new: list[Issued] = []
    known: list[str] = []
    made: list[Wanted] = []
    fresh: list[CoapSession] = []
    offered: dict[tuple[str, str], int | None] = {}
    for one in wanted:
        salt = _salt(request, one.id)
        credential = credentials.get(one.id)
        if one.id in there and not _is_repeated(there[one.id], credential, salt):
            known.append(one.id)
            continue
        if credential is None:
            credential = CoapSession(device_id=one.id, salt=salt, counter=-1, window=0)
        password = keys.mqtt_password(credential)
        new.append(Issued(one, password, keys.of_session(credential)))
        if one.id in there:
            continue
        if (one.product, one.board) not in offered:
            target = devices.newest_target(session, one.product, one.board)
            offered[one.product, one.board] = target.id if target else None
        offer = offered[one.product, one.board]
        session.add(Device(**one._asdict(), password_hash=password_hashes.hashed(password), offer_id=offer))
        fresh.append(credential)
        made.append(one)
    session.flush()  # credentials refer to devices
    session.add_all(fresh)
    acts = [(one.id, {"board": one.board, "product": one.product}) for one in made]
    audit.record_all(session, actor, "device.register", acts)
    return Registered(new, known, [one.id for one in made])


def _check_there(there: dict[str, Device], wanted: Sequence[Wanted]) -> None:
    """Refuse devices that are there, but not as they are listed."""
    rows = [(one, there[one.id]) for one in wanted if one.id in there]
    revoked = [one.id for one, row in rows if row.revoked_at is not None]
    if revoked:
        raise Conflict(
            "device-revoked",
            f"{_named(revoked)} {_were(revoked)} revoked; nothing was registered",
            f"Take it off the list, or take it back: tidegate device claim --device {revoked[0]}",
        )
    other = [one.id for one, row in rows if (row.board, row.product) != (one.board, one.product)]
    if other:
        row = there[other[0]]
        raise Conflict(
            "device-differs",
            f"{_named(other)} {_were(other)} registered with another board or product ({row.id}: {row.product} on "
            f"{row.board}); nothing was registered",
            f"Correct the list, or the device: tidegate device set {row.id} --product PRODUCT",
        )


def _check_names(session: Session, ids: list[str]) -> None:
    """Refuse ids that are other devices' names, or reserved as such by an open claim."""
    taken = list(session.scalars(select(Device.name).where(Device.name.in_(ids))))
    open_ = (Claim.used_at.is_(None), Claim.revoked_at.is_(None), Claim.expires_at > now_ms())
    taken += session.scalars(select(Claim.name).where(Claim.name.in_(ids), *open_))
    if taken:
        found = sorted({str(name) for name in taken})
        raise Conflict(
            "name-taken",
            f"{_named(found)}: the name of another device, or reserved by a claim; nothing was registered",
            "Choose another id, or rename that device: tidegate device rename",
        )


def _is_repeated(device: Device, credential: CoapSession | None, salt: bytes) -> bool:
    """Whether the same request registered the device, which has not been heard since."""
    if credential is None or device.last_seen_at is not None or device.birth_at is not None:
        return False
    return credential.claim_id is None and credential.salt == salt


def _salt(request: bytes, device_id: str) -> bytes:
    return hashlib.sha256(_FOR_SALT + request + device_id.encode()).digest()[:SALT]


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more


def _were(ids: Sequence[str]) -> str:
    return "was" if len(ids) == 1 else "were"
