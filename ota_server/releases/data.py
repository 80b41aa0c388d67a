"""Data components: what is special about accepting their data."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from ota_server.errors import Conflict
from ota_server.releases.accept import Candidate
from ota_server.releases.manifest_checks import check_offered, check_payload, check_same
from ota_server.releases.payloads import Payloads
from ota_server.store import data as table
from ota_server.store.models import DataTarget
from tidegate.release import data_release
from tidegate.trust.store import TrustStore


@dataclass(frozen=True)
class DataCandidate(Candidate[DataTarget, list[DataTarget]]):
    """Data to publish for the component `name`; sequence numbers count for each component and board."""

    name: str = ""

    @property
    def noun(self) -> str:
        return "data"

    @property
    def title(self) -> str:
        return f"{self.product} {self.name} {self.version}"

    def find(self, session: Session) -> list[DataTarget] | None:
        known = [target for board in sorted(self.envelopes) if (target := self._find(session, board)) is not None]
        return known or None

    def boards_of(self, stored: list[DataTarget]) -> set[str]:
        return {target.board for target in stored}

    def check(
        self, board: str, envelope: bytes, keys: TrustStore, payloads: Payloads, warnings: list[str]
    ) -> DataTarget:
        facts = data_release.verify_envelope(envelope, keys)
        check_same(board, facts, self, (facts.name, self.name))
        check_payload(payloads, board, "data", facts.digest, facts.size)
        return DataTarget(
            product=self.product,
            board=board,
            name=self.name,
            version=self.version,
            sequence=self.sequence,
            envelope=envelope,
            digest=facts.digest.hex(),
            size=facts.size,
        )

    def store(
        self, session: Session, stored: list[DataTarget] | None, added: list[DataTarget]
    ) -> tuple[list[DataTarget], int]:
        session.add_all(added)
        session.flush()
        return [*added, *(stored or [])], sum(table.offer_to_all(session, target) for target in added)

    def _find(self, session: Session, board: str) -> DataTarget | None:
        newest = table.newest(session, self.product, board, self.name)
        if newest is None or self.sequence > newest.sequence:
            return None
        if self.sequence == newest.sequence and newest.envelope == self.envelopes[board]:
            check_offered(f"{self.name} {self.version}", newest.withdrawn)
            return newest
        raise Conflict(
            "sequence",
            f"{self.name} for {board} is at sequence number {newest.sequence} ({newest.version}); {self.sequence} "
            f"({self.version}) is not newer, and devices would refuse it",
            f"Build and sign it with a sequence number from {newest.sequence + 1}",
        )
