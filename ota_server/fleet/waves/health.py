from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from ota_server.store.models import Rollout
from tidegate.rollout import Terms


def breach(session: Session, rollout: Rollout, terms: Terms, since: int) -> str | None:
    return None


def evidence(session: Session, rollout: Rollout, terms: Terms, since: int) -> list[dict[str, Any]]:
    return []
