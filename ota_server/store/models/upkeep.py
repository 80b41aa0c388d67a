"""What the server notes for its own housekeeping."""

from __future__ import annotations

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from ota_server.store.models._base import Base, RowId


class Counter(Base):
    """Counts events that get no row: messages of unknown devices and the like."""

    __tablename__ = "counter"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger, default=0)


class Progress(Base):
    """How far a piece of housekeeping has come."""

    __tablename__ = "progress"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class ClockSeen(Base):
    """When a server last saw the clock of its machine right, in one boot of it."""

    __tablename__ = "clock_seen"
    boot: Mapped[str] = mapped_column(String(64), primary_key=True)
    wall: Mapped[int] = mapped_column(BigInteger)  # ms since 1970
    up: Mapped[int] = mapped_column(BigInteger)  # ms since that boot
    accepted: Mapped[int | None] = mapped_column(BigInteger)  # wall - up of a clock that a person said is right


class Absence(Base):
    """A time in which nobody heard the devices, in ms since 1970, until they had time to come back."""

    __tablename__ = "absence"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    began: Mapped[int] = mapped_column(BigInteger)
    ended: Mapped[int] = mapped_column(BigInteger)
