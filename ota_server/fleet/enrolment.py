"""Claims: issuing them, and the one transaction in which a board enrols with one.

A claim's secret is derived from its id and the server's own secret (security.device_credentials): the database
holds neither. The database guarantees single use: the claim's row is locked while a request is checked.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.security import audit, password_hashes
from ota_server.security.device_credentials import Keys
from ota_server.store import alarms, clone_detection, devices, now_ms
from ota_server.store.models import Claim, Device, TrustUpdate
from tidegate import enrolment
from tidegate.enrolment import Answer, ReceivedRequest, Request
from tidegate.errors import Refused

DEFAULT_EXPIRY_S = 7 * 86400
MAX_EXPIRY_S = 365 * 86400
_NEW_CLAIM = "Make a new one with `tidegate device claim`"


@dataclass(frozen=True)
class Enrolment:
    """The result of a request: the answer for the board, or why it was refused. changed: whose credentials are new."""

    answer: bytes = b""
    changed: str | None = None
    refused: Refused | None = None


def issue(session: Session, keys: Keys, claim: Claim, actor: str) -> str:
    """File a claim, whose id is made here; returns what the board needs of it but for the trust store's print."""
    claim.id = secrets.token_bytes(enrolment.ID).hex()
    session.add(claim)
    session.flush()
    audit.record(session, actor, "claim.new", claim.id, device=claim.device_id, group=claim.group, name=claim.name)
    return enrolment.offered(bytes.fromhex(claim.id), keys.of_claim(claim.id))


def name_is_free(session: Session, name: str) -> bool:
    """Whether no device has this name or id, and no open claim will give it to one."""
    waiting = select(Claim.id).where(
        Claim.name == name, Claim.used_at.is_(None), Claim.revoked_at.is_(None), Claim.expires_at > now_ms()
    )
    return devices.name_is_free(session, name) and session.scalar(waiting.limit(1)) is None


def withdraw(session: Session, device_id: str) -> list[Claim]:
    """Revoke the open claims for a device: one that is on a board already would bring a revoked device back.

    Before the device's row is touched: `enrol` locks the claim first, too.
    """
    statement = select(Claim).where(Claim.device_id == device_id, Claim.used_at.is_(None), Claim.revoked_at.is_(None))
    found = list(session.scalars(statement.order_by(Claim.id).with_for_update()))
    for claim in found:
        claim.revoked_at = now_ms()
    return found


def verify(keys: Keys, asked: ReceivedRequest) -> Request:
    """The request inside, if its sender holds the claim and the key; needs no database. Raises Refused."""
    if not asked.holds(keys.of_claim(asked.claim_id.hex())):
        # The same for a claim that never existed, so that guessing reveals nothing.
        raise Refused("claim-unknown", "this server made no such claim", "Copy all of it, to the board of this server")
    return asked.open()


def enrol(session: Session, keys: Keys, request: Request, trust_file: Path) -> Enrolment:
    """Use a claim up. What is refused here changes nothing but, perhaps, alarms: commit in any case."""
    claim = session.get(Claim, request.claim_id.hex(), with_for_update=True)
    try:
        if claim is None:
            raise Refused("claim-unknown", "this server does not know the claim any more", _NEW_CLAIM)
        store = _trust(session, request, trust_file)
        if claim.used_at is not None:
            device = _again(session, claim, request)
            return Enrolment(_answer(keys, claim, device, request, store))
        device = _first(session, claim, request)
    except Refused as refused:
        return Enrolment(refused=refused)
    claim.salt = secrets.token_bytes(enrolment.SALT)
    secret = keys.of_claim(claim.id)
    device.password_hash = password_hashes.hashed(enrolment.mqtt_password(secret, claim.salt))
    device.key, device.revoked_at = request.public, None
    clone_detection.begin(device, request.hardware.hex())
    session.add(device)
    session.flush()
    keys.issue(session, device.id, claim.id, claim.salt)
    claim.used_at, claim.used_by, claim.key = now_ms(), device.id, request.public
    audit.record(session, f"claim:{claim.id}", "device.enrol", device.id, board=device.board, product=device.product)
    return Enrolment(_answer(keys, claim, device, request, store), device.id)


def _first(session: Session, claim: Claim, request: Request) -> Device:
    """The device that an unused claim makes or renews. Raises Refused."""
    if claim.revoked_at is not None:
        raise Refused("claim-revoked", "the claim was revoked", _NEW_CLAIM)
    if claim.expires_at <= now_ms():
        raise Refused("claim-expired", "the claim has expired", _NEW_CLAIM)
    for what, expected, said in (("board", claim.board, request.board), ("product", claim.product, request.product)):
        if expected is not None and expected != said:
            raise Refused(f"claim-{what}", f"the claim is for the {what} {expected}, not for {said}", _NEW_CLAIM)
    name = enrolment.device_id(request.public)
    device = session.get(Device, claim.device_id or name, with_for_update=True)
    if device is None:
        return _new(session, claim, request, name)
    if (device.board, device.product) != (request.board, request.product):
        raise Refused("claim-device", f"{device.id} is {device.product} on {device.board}", _NEW_CLAIM)
    if device.key not in (None, request.public):
        _reused(session, claim, request, device.id, "other-key")
        raise Refused("other-key", f"{device.id} has another key", f"{_NEW_CLAIM}, without --device: a new device")
    if device.revoked_at is not None and claim.device_id is None:
        raise Refused(
            "device-revoked", f"{device.id} was revoked", f"To take it back: tidegate device claim --device {device.id}"
        )
    if device.revoked_at is not None:  # nothing was offered to it any more
        target = devices.newest_target(session, device.product, device.board, device.group)
        device.offer_id = target.id if target else None
    return device


def _new(session: Session, claim: Claim, request: Request, name: str) -> Device:
    target = devices.newest_target(session, request.product, request.board, claim.group)
    device = Device(
        id=name,
        board=request.board,
        product=request.product,
        group=claim.group,
        offer_id=target.id if target else None,
        past_nonces="",
    )
    if claim.name is not None and devices.name_is_free(session, claim.name):
        device.name = claim.name
    return device


def _again(session: Session, claim: Claim, request: Request) -> Device:
    """The device that has used the claim, if this is its own request and the answer may have got lost."""
    device = session.get(Device, claim.used_by)
    if device is None or claim.key != request.public:
        _reused(session, claim, request, claim.used_by, "other-key")
    elif device.hardware != request.hardware.hex():
        _reused(session, claim, request, claim.used_by, "other-hardware")
    elif claim.seen_at is None and claim.revoked_at is None and device.revoked_at is None:
        return device
    else:
        alarms.count(session, "claims shown again")
    raise Refused("claim-used", "the claim was used already", _NEW_CLAIM)


def _reused(session: Session, claim: Claim, request: Request, device_id: str | None, reason: str) -> None:
    who = enrolment.device_id(request.public)
    detail = f"claim {claim.id} was shown by {who} on {request.board}, hardware {request.hardware.hex()}"
    alarms.raise_server_alarm(session, device_id, "claim-reused", reason, detail)


def _trust(session: Session, request: Request, trust_file: Path) -> bytes | None:
    """The trust store that the board may take, if it needs one. Raises Refused if we do not have it."""
    if request.trust is None:
        return None
    stores = list(session.scalars(select(TrustUpdate.store)))
    if trust_file.is_file():
        stores.append(trust_file.read_bytes())
    for store in stores:
        if enrolment.trust_fingerprint(store) == request.trust:
            return store
    raise Refused(
        "trust-unknown",
        "this server does not have the trust store that the claim names",
        "Flash the store with --trust, or start the server with it",
    )


def _answer(keys: Keys, claim: Claim, device: Device, request: Request, store: bytes | None) -> bytes:
    salt = claim.salt or b""
    answer = Answer(device.id, salt, request.nonce, device.group, store, device.name)
    return enrolment.encode_answer(answer, keys.of_claim(claim.id))
