"""The states codec 1 begins with (docs/patch-format.md, "Start states")."""

START_STATES = bytes([16 << 3]) * 840
