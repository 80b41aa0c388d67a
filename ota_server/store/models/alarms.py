"""Alarms, and which kinds are muted."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ota_server.store.clock import now_ms
from ota_server.store.models._base import Base, RowId


class Alarm(Base):
    """Something that should not have happened, said by a device or found by the server."""

    __tablename__ = "alarm"
    __table_args__ = (
        Index("alarm_device", "device_id", "id"),
        Index("alarm_content", "device_id", "content", "occurrence", unique=True),
    )
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("device.id"))
    source: Mapped[str] = mapped_column(String(8))  # device, server
    at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    last_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    kind: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(String(256))
    cti: Mapped[str | None] = mapped_column(String(16))
    count: Mapped[int] = mapped_column(BigInteger, default=1)
    trace: Mapped[str | None] = mapped_column(Text)  # of a crash
    content: Mapped[str | None] = mapped_column(String(32))  # of a device's, as of Report
    occurrence: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    acknowledged_at: Mapped[int | None] = mapped_column(BigInteger)  # when a person said that it has been seen
    acknowledged_by: Mapped[str | None] = mapped_column(String(80))
    note: Mapped[str | None] = mapped_column(String(200))  # what that person says about it


class AlarmMute(Base):
    """Until when alarms of one kind, about one device or about all, call nobody."""

    __tablename__ = "alarm_mute"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("device.id"))  # null: of all devices
    kind: Mapped[str] = mapped_column(String(32))
    until: Mapped[int] = mapped_column(BigInteger)
    by: Mapped[str] = mapped_column(String(80))
    why: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
