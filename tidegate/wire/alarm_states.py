"""The states of an alarm, as the server has them and everybody else asks for them."""

from __future__ import annotations

STATES = ("open", "acknowledged", "calling")  # calling: open, and no mute covers it
