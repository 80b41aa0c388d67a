"""Which signed commands may go out. No key is here: the server cannot make a command, or make a bad one good.

The policy checks what the server can know: form, signatures and roles by its copy of the trust store, audience, time,
and the boot that a command was made for. The device checks all of it again, and what each of its opcodes needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.config import Config
from ota_server.errors import Unavailable
from ota_server.releases import trust
from ota_server.store import alarms, commands, now_ms
from ota_server.store.models import Command, Device
from tidegate.commands import cwt
from tidegate.errors import Refused
from tidegate.wire import cose


class SignedMessage(NamedTuple):
    """A COSE message that holds a command, decoded once; its signatures are not verified yet."""

    data: bytes
    command: cwt.Command
    signatures: tuple[cose.Signature, ...]

    @classmethod
    def decode(cls, data: bytes) -> SignedMessage:
        """Raises Refused if `data` is malformed."""
        return cls(data, *cwt.decode(data))

    @property
    def cti(self) -> str:
        return self.command.cti.hex()

    @property
    def kids(self) -> str:
        """The key ids of all signatures, in hex, as the table has them."""
        return " ".join(signature.kid.hex() for signature in self.signatures)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class CommandPolicy:
    """The policy of one server: its trust store is the one that counts at the moment of each check."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def check(self, session: Session, device: Device, message: SignedMessage) -> cwt.Signed | None:
        """The command and who signed it, if `device` might carry it out.

        Returns None if there is no trust store to verify signatures with. Raises Refused.
        """
        command = message.command
        if device.revoked_at is not None:
            raise Refused(
                "device-revoked",
                f"{device.id} is revoked",
                f"To take it back: tidegate device claim --device {device.id}",
            )
        if command.audience != device.id:
            raise Refused(
                "audience",
                f"the command is for {command.audience}, not for {device.id}",
                f"Send it to {command.audience}",
            )
        now = now_ms() / 1000
        if command.issued > now + cwt.CLOCK_SKEW:
            raise Refused("time", "the command is from the future", "Check the clocks of both machines")
        if command.expires <= now:
            raise Refused("expired", "the command has expired", "Sign a new one; check the clocks of both machines")
        try:
            keys = trust.current(session, self._config)
        except Unavailable:
            return None
        return cwt.check_decoded(command, message.signatures, keys)

    def check_stored(self, session: Session, row: Command) -> str | None:
        """The role of the keys that signed a stored command; None if it must not go out (now).

        Called again before each step: meanwhile the trust store may have changed, the board may have restarted, or
        somebody may have edited the row.
        """
        device = session.get(Device, row.device_id)
        if device is None or row.message is None:
            return None
        try:
            signed = self.check(session, device, SignedMessage.decode(row.message))
            if signed is None:
                return None
            command = signed.command
            if (command.cti.hex(), command.opcode) != (row.cti, row.opcode):
                raise Refused("malformed", "the command is not the one that was handed in")
            if command.nonce is not None and device.nonce not in (None, command.nonce.hex()):
                commands.refused(session, row.id, "nonce: the board has restarted since it was signed; sign it again")
                return None
            return signed.role
        except Refused as refusal:
            why = f"{refusal.reason}: {refusal.message}"
            if commands.refused(session, row.id, why):
                detail = f"{row.cti}: {why}"
                alarms.raise_server_alarm(session, row.device_id, "command-refused", refusal.reason, detail)
            return None

    def claim_all(self, session: Session, rows: Sequence[int]) -> list[Command]:
        """As `claim`, of many in one transaction: those that the caller, and nobody else, may send now."""
        found = commands.claim_all(session, rows)
        needed = {row.device_id for row in found}
        known = session.scalars(select(Device).where(Device.id.in_(needed))).all()  # read at once, not one by one
        fit = [row for row in found if self.check_stored(session, row) is not None]
        del known
        return fit

    def claim(self, session: Session, row: int) -> bytes | None:
        """Reserve a waiting command for the caller, who alone may send it.

        Returns its message, or None if it must not go out or another worker was faster.
        """
        if not commands.claim(session, row):
            return None
        found = session.get(Command, row, populate_existing=True)
        return found.message if found is not None and self.check_stored(session, found) is not None else None
