"""How a device stands in a rollout in waves, as the server counts it and everybody else reads it (docs/rollouts.md)."""

from __future__ import annotations

UNDER_WAY = ("offered", "downloading", "installed", "trial")
FAILED = ("rolled-back", "refused", "failed", "overdue")
STATES = ("waiting", *UNDER_WAY, "confirmed", *FAILED, "unreachable", "excused")
