"""Data components: what is special about accepting their data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ota_server.errors import Conflict
from ota_server.releases.accept import Candidate
from ota_server.releases.manifest_checks import check_offered, check_payload, check_same
from ota_server.releases.payloads import Payloads
from ota_server.security import audit
from ota_server.store import Store, groups
from ota_server.store import data as table
from ota_server.store.models import DataTarget
from tidegate.release import data_release
from tidegate.trust.store import TrustStore


@dataclass(frozen=True)
class DataCandidate(Candidate[DataTarget, list[DataTarget]]):
    """Data to publish for the component `name`; sequence numbers count for each component and board.

    hold: only rollouts in waves offer it, until it is published once more without.
    """

    name: str = ""
    hold: bool = False

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
            held=self.hold,
        )

    def store(
        self, session: Session, stored: list[DataTarget] | None, added: list[DataTarget]
    ) -> tuple[list[DataTarget], int]:
        session.add_all(added)
        session.flush()
        offered = 0 if self.hold else sum(table.offer_to_all(session, target) for target in added)
        return [*added, *(stored or [])], offered

    def audit_detail(self, stored: list[DataTarget], added: list[DataTarget]) -> dict[str, Any]:
        return {**super().audit_detail(stored, added), **({"held": True} if self.hold else {})}

    def _find(self, session: Session, board: str) -> DataTarget | None:
        same = next((one for one in self._of_number(session) if one.board == board), None)
        if same is not None and same.held and same.envelope == self.envelopes[board]:
            return same
        newest = table.newest(session, self.product, board, self.name)
        if newest is None or self.sequence > newest.sequence:
            return None
        if self.sequence == newest.sequence and newest.envelope == self.envelopes[board]:
            check_offered(f"{self.name} {self.version}", newest.withdrawn)
            if self.hold:
                raise Conflict(
                    "offered-already",
                    f"{self.name} {self.version} is offered to all devices already, so it cannot be held back",
                    "Publish the next content with --hold",
                )
            return newest
        raise Conflict(
            "sequence",
            f"{self.name} for {board} is at sequence number {newest.sequence} ({newest.version}); {self.sequence} "
            f"({self.version}) is not newer, and devices would refuse it",
            f"Build and sign it with a sequence number from {newest.sequence + 1}",
        )

    def _of_number(self, session: Session) -> list[DataTarget]:
        return table.of_number(session, self.product, self.name, self.sequence)


def let_go(store: Store, product: str, name: str, sequence: int, actor: str) -> tuple[list[DataTarget], int]:
    """Offer to all what was held back for rollouts; what it is now, by board, and to how many devices it is new."""
    with store.write() as session:
        groups.lock(session)
        targets = table.of_number(session, product, name, sequence)
        held = [target for target in targets if target.held]
        for target in held:
            check_offered(f"{name} {target.version}", target.withdrawn)
            target.held = False
        session.flush()
        offered = sum(table.offer_to_all(session, target) for target in held)
        if held:
            what = f"{product} {name} {held[0].version}"
            boards = [target.board for target in held]
            audit.record(session, actor, "data.release", what, sequence=sequence, boards=boards, offered=offered)
        return targets, offered
