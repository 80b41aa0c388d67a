"""Accepting the data of a component: what a device would refuse is refused here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ota_server.config import Config
from ota_server.errors import Problem
from ota_server.releases import trust as releases_trust
from ota_server.releases.envelopes import check_offered, check_payload, check_same, read_envelopes
from ota_server.releases.payloads import Payloads
from ota_server.security import audit
from ota_server.store import Store
from ota_server.store import data as stored
from ota_server.store.models import DataTarget
from tidegate.manifest import data_profile
from tidegate.names import COMPONENT
from tidegate.release import data_release
from tidegate.release.folder import check_identity
from tidegate.trust import store as trust_store

_MEMBERS = {"name", "product", "vendor", "version", "sequence", "targets"}


@dataclass(frozen=True)
class Candidate:
    """Data as sent, its shape checked and nothing else."""

    name: str
    product: str
    vendor: str
    version: str
    sequence: int
    envelopes: Mapping[str, bytes]  # by board


@dataclass(frozen=True)
class Outcome:
    """`created` is false when the very same data was already there."""

    targets: list[DataTarget]
    created: bool
    offered: int


def read(body: Any) -> Candidate:
    """Check the shape of the JSON document of POST /api/v1/data."""
    if not isinstance(body, dict) or set(body) != _MEMBERS:
        raise _invalid(f"the data must be an object of exactly {', '.join(sorted(_MEMBERS))}")
    check_identity(body["product"], body["vendor"], body["version"], body["sequence"])
    if not COMPONENT.fits(body["name"]):
        raise _invalid(COMPONENT.refusal(body["name"]))
    return Candidate(**{**{key: body[key] for key in _MEMBERS - {"targets"}}, "envelopes": read_envelopes(body)})


def accept(store: Store, payloads: Payloads, config: Config, wanted: Candidate, actor: str) -> Outcome:
    """Check everything, store it and offer it to every device it fits, in one transaction."""
    with store.read() as session:
        for board in wanted.envelopes:
            _known(session, wanted, board)
        keys = releases_trust.current(session, config)
    facts = {board: _verify(wanted, board, envelope, keys) for board, envelope in wanted.envelopes.items()}
    for board, one in facts.items():
        check_payload(payloads, board, "data", one.digest, one.size)
    with store.write() as session:
        if releases_trust.current(session, config) != keys:
            raise Problem(409, "trust-changed", "the trust store was changed meanwhile", "Publish the data again")
        known = {board: _known(session, wanted, board) for board in wanted.envelopes}
        added = []
        for board, envelope in sorted(wanted.envelopes.items()):
            if known[board] is None:
                added.append(_target(wanted, board, envelope, facts[board]))
        session.add_all(added)
        session.flush()
        offered = sum(stored.offer_to_all(session, target) for target in added)
        if added:
            audit.record(
                session,
                actor,
                "data.publish",
                f"{wanted.product} {wanted.name} {wanted.version}",
                sequence=wanted.sequence,
                boards=[target.board for target in added],
                offered=offered,
            )
        return Outcome([*added, *(target for target in known.values() if target)], bool(added), offered)


def _known(session: Session, wanted: Candidate, board: str) -> DataTarget | None:
    """The target already stored under this number, if it is the same; Problem 409 when it is too old."""
    newest = stored.newest(session, wanted.product, board, wanted.name)
    if newest is None or wanted.sequence > newest.sequence:
        return None
    if wanted.sequence == newest.sequence and newest.envelope == wanted.envelopes[board]:
        check_offered(f"{wanted.name} {wanted.version}", newest.withdrawn)
        return newest
    raise Problem(
        409,
        "sequence",
        f"{wanted.name} for {board} is at sequence number {newest.sequence} ({newest.version}); {wanted.sequence} "
        f"({wanted.version}) is not newer, and devices would refuse it",
        f"Build and sign it with a sequence number from {newest.sequence + 1}",
    )


def _verify(wanted: Candidate, board: str, envelope: bytes, keys: trust_store.TrustStore) -> data_profile.DataManifest:
    facts = data_release.verify_envelope(envelope, keys)
    check_same(board, facts, wanted, (facts.name, wanted.name))
    return facts


def _target(wanted: Candidate, board: str, envelope: bytes, facts: data_profile.DataManifest) -> DataTarget:
    return DataTarget(
        product=wanted.product,
        board=board,
        name=wanted.name,
        version=wanted.version,
        sequence=wanted.sequence,
        envelope=envelope,
        digest=facts.digest.hex(),
        size=facts.size,
    )


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid-data", detail, "Publish with: tidegate data publish DIR")
