"""Judges signed commands before they go out. The keys are elsewhere: nothing here can make one, or make a bad one good.

What is checked is what the server can know: form, signatures and roles by its copy of the trust store, audience, time,
and the boot it was made for. The device judges all of it again, and what each of its opcodes needs.
"""

from __future__ import annotations

import time

from sqlalchemy.orm import Session

from ota_server.config import Config
from ota_server.errors import Problem
from ota_server.releases import trust
from ota_server.store import alarms, commands
from ota_server.store.models import Command, Device
from tidegate.commands import cwt
from tidegate.errors import Refused


class Relay:
    """The judge of one server."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def judge(self, session: Session, device: Device, message: bytes) -> cwt.Signed | None:
        """What `message` says and who signed it, if `device` might carry it out; else Refused. None without a trust
        store to tell by."""
        claims, _ = cwt.decode(message)
        if device.revoked_at is not None:
            raise Refused(
                "device-revoked",
                f"{device.id} is revoked",
                f"To take it back: tidegate device claim --device {device.id}",
            )
        if claims.audience != device.id:
            raise Refused(
                "audience",
                f"the command is for {claims.audience}, not for {device.id}",
                f"Send it to {claims.audience}",
            )
        now = time.time()
        if claims.issued > now + cwt.CLOCK_SKEW:
            raise Refused("time", "the command is from the future", "Check the clocks of both machines")
        if claims.expires <= now:
            raise Refused("expired", "the command has expired", "Sign a new one; check the clocks of both machines")
        try:
            keys = trust.current(session, self._config)
        except Problem:
            return None
        return cwt.check(message, keys)

    def fit(self, session: Session, row: Command) -> str | None:
        """The role of the keys that signed a stored command, judged once more before each step: the trust store may
        have moved on, the board started anew, or somebody edited the row. None if it must not go out (now)."""
        device = session.get(Device, row.device_id)
        if device is None or row.message is None:
            return None
        try:
            signed = self.judge(session, device, row.message)
            if signed is None:
                return None
            claims = signed.command
            if (claims.cti.hex(), claims.opcode) != (row.cti, row.opcode):
                raise Refused("malformed", "the command is not the one that was handed in")
            if claims.nonce is not None and device.nonce not in (None, claims.nonce.hex()):
                why = "nonce: the board has started anew since it was signed; sign it again"
                commands.refused(session, row.id, why)
                return None
            return signed.role
        except Refused as refusal:
            why = f"{refusal.reason}: {refusal.message}"
            if commands.refused(session, row.id, why):
                alarms.raise_own(session, row.device_id, "command-refused", refusal.reason, f"{row.cti}: {why}")
            return None

    def take(self, session: Session, row: int) -> bytes | None:
        """The message of a waiting command for the caller to send, and nobody else; None if it must not go out, or
        somebody was faster."""
        if not commands.claim(session, row):
            return None
        found = session.get(Command, row, populate_existing=True)
        return found.message if found is not None and self.fit(session, found) is not None else None
