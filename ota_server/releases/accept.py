"""Accepting a release or data: what a device would refuse is refused here, before any device is offered it.

This is the path of both; images.py and data.py say in what they differ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session

from ota_server.config import Config
from ota_server.errors import Conflict
from ota_server.releases import trust
from ota_server.releases.payloads import Payloads
from ota_server.security import audit
from ota_server.store import Store, groups
from ota_server.store.models import DataTarget, Target
from tidegate.trust.store import TrustStore

Row = TypeVar("Row", Target, DataTarget)
Stored = TypeVar("Stored")


@dataclass(frozen=True)
class Candidate(ABC, Generic[Row, Stored]):
    """What a request wants to publish; only its form has been checked. `envelopes` are signed manifests by board."""

    product: str
    vendor: str
    version: str
    sequence: int
    envelopes: Mapping[str, bytes]

    @property
    @abstractmethod
    def noun(self) -> str:
        """release or data: for messages, and for the audit log."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Names it for people."""

    @abstractmethod
    def find(self, session: Session) -> Stored | None:
        """What is stored under this sequence number already, if the candidate may be the same; else None.

        Raises Conflict if it is too old, was withdrawn, or contradicts what is stored.
        """

    @abstractmethod
    def boards_of(self, stored: Stored) -> set[str]:
        """The boards for which it is stored."""

    @abstractmethod
    def check(self, board: str, envelope: bytes, keys: TrustStore, payloads: Payloads, warnings: list[str]) -> Row:
        """Check one board's manifest and payloads as the device does; returns its row. Raises Problem or Refused."""

    @abstractmethod
    def store(self, session: Session, stored: Stored | None, added: list[Row]) -> tuple[Stored, int]:
        """Add rows to what is stored and offer them to devices; returns what is stored now and the number of offers."""

    def audit_detail(self, stored: Stored, added: list[Row]) -> dict[str, Any]:
        """More for the audit log."""
        return {"boards": [target.board for target in added]}

    def new_boards(self, stored: Stored | None) -> set[str]:
        """The boards of this candidate for which nothing is stored yet."""
        return set(self.envelopes) - (set() if stored is None else self.boards_of(stored))


@dataclass(frozen=True)
class Publication(Generic[Stored]):
    """`created` is false if the very same was stored before; `warnings` name what could not be checked."""

    stored: Stored
    created: bool
    warnings: list[str]
    offered: int


def accept(
    store: Store, payloads: Payloads, config: Config, candidate: Candidate[Row, Stored], actor: str
) -> Publication[Stored]:
    """Check everything, store it and offer it to the devices it is for, in one transaction.

    Raises Problem or Refused and then has changed nothing.
    """
    with store.read() as session:
        stored = candidate.find(session)
        if stored is not None and not candidate.new_boards(stored):
            return Publication(stored, False, [], 0)
        keys = trust.current(session, config)
    warnings: list[str] = []
    targets = {
        board: candidate.check(board, envelope, keys, payloads, warnings)
        for board, envelope in sorted(candidate.envelopes.items())
    }
    with store.write() as session:
        groups.lock(session)
        # Again, now with the lock: another publisher may have been faster.
        if trust.current(session, config) != keys:
            raise Conflict(
                "trust-changed", "the trust store was changed meanwhile", f"Publish the {candidate.noun} again"
            )
        stored = candidate.find(session)
        added = [targets[board] for board in sorted(candidate.new_boards(stored))]
        if stored is not None and not added:
            return Publication(stored, False, warnings, 0)
        now_stored, offered = candidate.store(session, stored, added)
        audit.record(
            session,
            actor,
            f"{candidate.noun}.publish",
            candidate.title,
            sequence=candidate.sequence,
            **candidate.audit_detail(now_stored, added),
            offered=offered,
        )
        return Publication(now_stored, True, warnings, offered)
