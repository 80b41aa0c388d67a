"""The board that the end-to-end tests share."""

from pathlib import Path

DEVICE = "gate-1"
BOARD = "qemu_mps2"
CHANGES = Path(__file__).resolve().parents[3] / "tools" / "demo_releases"
