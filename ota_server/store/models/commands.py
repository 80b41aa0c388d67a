"""Signed commands, and how they went."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, ForeignKey, Index, Integer, LargeBinary, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ota_server.store.clock import now_ms
from ota_server.store.models._base import Base, RowId, only


class Command(Base):
    """A signed command on its way to a device. Its claims are read, its signatures checked; nothing can be changed.

    The signed message is erased once it can do nothing more (`commands.end`); what became of it stays.
    """

    __tablename__ = "command"
    __table_args__ = (
        Index("command_cti", "cti"),
        Index("command_device", "device_id", "id"),
        Index("command_state_expiry", "state", "expires_at"),
        # messages that are not erased yet, which are few
        Index("command_message", "expires_at", **only("message IS NOT NULL")),
        Index("command_device_state", "device_id", "state"),
    )
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    cti: Mapped[str] = mapped_column(String(16))
    kid: Mapped[str] = mapped_column(String(80))  # of the keys that signed it, a blank between them
    opcode: Mapped[str] = mapped_column(String(64))
    message: Mapped[bytes | None] = mapped_column(LargeBinary)
    digest: Mapped[str | None] = mapped_column(String(64))  # of the message, which knows it when it comes again
    role: Mapped[str | None] = mapped_column(String(8))  # of the keys: command, diagnose
    nonce: Mapped[str | None] = mapped_column(String(16))  # of the boot it is for, as it says
    state: Mapped[str] = mapped_column(String(12), default="pending")
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    claimed_at: Mapped[int | None] = mapped_column(BigInteger)  # a worker began to send it
    uplinked_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(String(8))  # what the device answered: done, failed, refused
    result: Mapped[Any | None] = mapped_column(JSON)
    why: Mapped[str | None] = mapped_column(String(256))
    # what it answered in parts
    parts: Mapped[int | None] = mapped_column(BigInteger)  # how many there are; known at the end
    output_size: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # bytes of text stored
    truncated: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())  # there was more


class CommandStep(Base):
    """One step on a command's way: when it came to which state, by whose doing."""

    __tablename__ = "command_step"
    __table_args__ = (Index("command_step_command", "command_id", "id"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    command_id: Mapped[int] = mapped_column(ForeignKey("command.id", ondelete="CASCADE"))
    at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    state: Mapped[str] = mapped_column(String(12))
    by: Mapped[str] = mapped_column(String(80))
    why: Mapped[str | None] = mapped_column(String(256))
    command: Mapped[Command] = relationship()


class CommandPart(Base):
    """One part of a long answer. It may come twice, and is stored once."""

    __tablename__ = "command_part"
    command_id: Mapped[int] = mapped_column(ForeignKey("command.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(Text)
