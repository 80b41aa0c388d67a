"""The states of a command, as the server has them and everybody else reads them (docs/commands.md).

pending -> verified -> uplinked -> confirmed -> archived, or it ends as refused, expired or cancelled.
"""

from __future__ import annotations

OPEN = ("pending", "verified", "uplinked")  # the device may still answer
ENDED = ("confirmed", "archived", "refused", "expired", "cancelled")
STATES = (*OPEN, *ENDED)
