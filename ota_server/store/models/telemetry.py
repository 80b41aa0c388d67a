"""Telemetry: streams, their series, and the points of those."""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ota_server.store.models._base import Base, RowId


class Stream(Base):
    """What came in on one telemetry stream of a device, and which packs came last: one that comes again is known."""

    __tablename__ = "stream"
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger, default=0)  # when the last pack came
    packs: Mapped[int] = mapped_column(BigInteger, default=0)
    repeated: Mapped[int] = mapped_column(BigInteger, default=0)  # packs that had been filed before
    dropped: Mapped[int] = mapped_column(BigInteger, default=0)  # packs the device says it lost
    drop_mark: Mapped[int] = mapped_column(BigInteger, default=0)  # its own count, as it said it last
    seen: Mapped[bytes] = mapped_column(LargeBinary, default=b"")  # marks of the last packs, newest last
    number: Mapped[int | None] = mapped_column(BigInteger)  # of its last pack; a device counts over all streams
    missing: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")  # packs that never came, see `gaps`
    counts: Mapped[bytes | None] = mapped_column(LargeBinary)  # numbers that are filed, see `pack_counts`


class Series(Base):
    """One measurement of one stream: its newest value, and how many points it has."""

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("device_id", "stream", "name"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    stream: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(64))
    unit: Mapped[str | None] = mapped_column(String(16))
    at: Mapped[int] = mapped_column(BigInteger, default=0)
    number: Mapped[float | None] = mapped_column(Double)
    text: Mapped[str | None] = mapped_column(String(256))
    points: Mapped[int] = mapped_column(BigInteger, default=0)


class Point(Base):
    """One value at one time. Who measured what is said once, by its series."""

    __tablename__ = "point"
    # A number is never given twice, so that "after number n" misses nothing.
    __table_args__ = (Index("point_time", "series_id", "at"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    at: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[float | None] = mapped_column(Double)
    text: Mapped[str | None] = mapped_column(String(256))


class Rollup(Base):
    """What was measured in one minute, hour or day of one series (store/rollups.py)."""

    __tablename__ = "rollup"
    # SQLite then has them in the order in which they are read, and each but once.
    __table_args__ = ({"sqlite_with_rowid": False},)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), primary_key=True)
    step_ms: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger, primary_key=True)  # its beginning
    count: Mapped[int] = mapped_column(BigInteger)
    least: Mapped[float] = mapped_column(Double)
    most: Mapped[float] = mapped_column(Double)
    total: Mapped[float] = mapped_column(Double)
