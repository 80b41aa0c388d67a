"""The settings of devices, known from their answers to config.get, config.set and config.reset.

They count for as long as the digest in the device's births is the same.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from ota_server.store.models import Device

_OPCODES = ("config.get", "config.set", "config.reset")


def note_answer(session: Session, device: Device, opcode: str, answer: Any) -> None:
    """Keep what `answer`, of a command that was done, says of the device's settings. Other answers are passed over."""
    if opcode not in _OPCODES or not isinstance(answer, dict) or not isinstance(answer.get("settings"), dict):
        return
    device.settings, device.settings_digest = answer["settings"], str(answer.get("digest") or "")[:8]


def on_birth(session: Session, device: Device, digest: str | None) -> None:
    """A birth: `digest` (hex) is of what was set over the air, None without any. Another one means: not known now."""
    if device.settings_digest is not None and device.settings_digest != (digest or ""):
        device.settings = device.settings_digest = None
