"""What is published: releases, data components and trust updates, with the payloads they name."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, ForeignKey, LargeBinary, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ota_server.store.clock import now_ms
from ota_server.store.models._base import Base, RowId


class Payload(Base):
    """A stored image or patch, named by its SHA-256."""

    __tablename__ = "payload"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)


class Release(Base):
    """A published release; the sequence number is unique in a product."""

    __tablename__ = "release"
    __table_args__ = (UniqueConstraint("product", "sequence"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    product: Mapped[str] = mapped_column(String(64))
    vendor: Mapped[str] = mapped_column(String(128))
    version: Mapped[str] = mapped_column(String(32))
    sequence: Mapped[int] = mapped_column(BigInteger)
    channel: Mapped[str] = mapped_column(String(32), default="stable", server_default="stable")
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    targets: Mapped[list[Target]] = relationship(back_populates="release", order_by="Target.board")


class ChannelRelease(Base):
    """A release stands in a channel: it was published into it, or a rollout put it there."""

    __tablename__ = "channel_release"
    channel: Mapped[str] = mapped_column(String(32), primary_key=True)
    release_id: Mapped[int] = mapped_column(ForeignKey("release.id"), primary_key=True)
    since: Mapped[int] = mapped_column(BigInteger, default=now_ms)


class Target(Base):
    """What a release installs on one board: the signed envelope and the facts in it."""

    __tablename__ = "target"
    __table_args__ = (UniqueConstraint("release_id", "board"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    release_id: Mapped[int] = mapped_column(ForeignKey("release.id"))
    board: Mapped[str] = mapped_column(String(32))
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    manifest_digest: Mapped[str] = mapped_column(String(64))
    image_digest: Mapped[str] = mapped_column(String(64))
    image_size: Mapped[int] = mapped_column(BigInteger)
    patches: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    # a rotation dropped keys that signed it: devices would refuse it now
    withdrawn: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    # what a device must have before it takes it: a release to come from, and a MicroPython (store/steps)
    needs_sequence: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    needs_micropython: Mapped[str] = mapped_column(String(12), default="", server_default="")
    release: Mapped[Release] = relationship(back_populates="targets")


class ReleaseSbom(Base):
    """The bill of materials of a release (CycloneDX JSON) and the release keys' signature of it."""

    __tablename__ = "release_sbom"
    release_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("release.id"), primary_key=True, autoincrement=False)
    document: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)


class DataTarget(Base):
    """One published content of a data component for one board; numbers count by product, board and name."""

    __tablename__ = "data_target"
    __table_args__ = (UniqueConstraint("product", "board", "name", "sequence"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    product: Mapped[str] = mapped_column(String(64))
    board: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(24))
    version: Mapped[str] = mapped_column(String(32))
    sequence: Mapped[int] = mapped_column(BigInteger)
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    withdrawn: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())  # as of Target
    # only a rollout in waves offers it, until it is published to all
    held: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)


class TrustUpdate(Base):
    """A published trust update: the signed document as devices get it, and the store in it."""

    __tablename__ = "trust_update"
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    document: Mapped[bytes] = mapped_column(LargeBinary)
    store: Mapped[bytes] = mapped_column(LargeBinary)
    held: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())  # as of DataTarget
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
