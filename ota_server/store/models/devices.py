"""Devices: who they are, what they have, what they said of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ota_server.store.clock import now_ms
from ota_server.store.models._base import Base, RowId, only
from ota_server.store.models.releases import DataTarget, Release, Target


class Device(Base):
    """A registered device and the last it said of itself."""

    __tablename__ = "device"
    __table_args__ = (
        Index("device_group", "group"),
        Index("device_trust", "trust_version", "trust_sent"),
        # what the broker does not have yet: the worker looks for it all the time
        Index("device_unsent", "id", **only("offer_id IS DISTINCT FROM offer_sent_id")),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    board: Mapped[str] = mapped_column(String(32))
    product: Mapped[str] = mapped_column(String(64))
    password_hash: Mapped[str] = mapped_column(String(160))
    group: Mapped[str] = mapped_column(ForeignKey("fleet_group.name"), default="default", server_default="default")
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    protocol: Mapped[str] = mapped_column(String(8), default="mqtt")
    online: Mapped[bool] = mapped_column(Boolean, default=False)
    last_seen_at: Mapped[int | None] = mapped_column(BigInteger)
    # the last birth
    birth_at: Mapped[int | None] = mapped_column(BigInteger)
    version: Mapped[str | None] = mapped_column(String(64))
    sequence: Mapped[int | None] = mapped_column(BigInteger)
    digest: Mapped[str | None] = mapped_column(String(64))
    nonce: Mapped[str | None] = mapped_column(String(16))
    birth_proof: Mapped[str | None] = mapped_column(String(1024))  # hex; by the device's own key, for whoever asks
    reset_cause: Mapped[str | None] = mapped_column(String(16))
    trial: Mapped[bool] = mapped_column(Boolean, default=False)
    micropython: Mapped[str | None] = mapped_column(String(64))
    takes_data: Mapped[bool | None] = mapped_column(Boolean)  # its application has data components; None: not known
    trust_version: Mapped[int | None] = mapped_column(BigInteger)
    trust_sent: Mapped[int | None] = mapped_column(BigInteger)  # the update the broker has taken from us for it
    # the last report
    update: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    failed_sequence: Mapped[int | None] = mapped_column(BigInteger)  # the newest it rolled back, refused or failed at
    # what it should have been offered, and what the broker has taken from us
    offer_id: Mapped[int | None] = mapped_column(ForeignKey("target.id"))
    offer_sent_id: Mapped[int | None] = mapped_column(ForeignKey("target.id"))
    claimed_until: Mapped[int | None] = mapped_column(BigInteger)  # another worker is publishing something for it
    offer: Mapped[Target | None] = relationship(foreign_keys=[offer_id])
    # what it is set to, as it said last (docs/gitops.md); null: not known
    settings: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    settings_digest: Mapped[str | None] = mapped_column(String(8))  # of what was set over the air; "" for nothing
    # who it is (docs/enrolment.md)
    name: Mapped[str | None] = mapped_column(String(32), unique=True)  # for people; as good as the id everywhere
    key: Mapped[bytes | None] = mapped_column(LargeBinary)  # its own public key, if it enrolled with one
    hardware: Mapped[str | None] = mapped_column(String(16))  # print of the hardware its identity belongs to
    past_nonces: Mapped[str] = mapped_column(
        String(160), default="", server_default=""
    )  # of earlier boots, newest first
    cloned_at: Mapped[int | None] = mapped_column(BigInteger)  # when two boards with its identity were last noticed
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class DeviceLabel(Base):
    """A key and value that people gave a device."""

    __tablename__ = "device_label"
    __table_args__ = (Index("device_label_key", "key", "value"),)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class DeviceData(Base):
    """A data component of one device: what its last birth says it holds, and what it is offered."""

    __tablename__ = "device_data"
    __table_args__ = (Index("device_data_unsent", "device_id", **only("offer_id IS DISTINCT FROM offer_sent_id")),)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(24), primary_key=True)
    sequence: Mapped[int | None] = mapped_column(BigInteger)
    digest: Mapped[str | None] = mapped_column(String(64))
    update: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # the last report
    failed_sequence: Mapped[int | None] = mapped_column(BigInteger)
    offer_id: Mapped[int | None] = mapped_column(ForeignKey("data_target.id"))
    offer_sent_id: Mapped[int | None] = mapped_column(ForeignKey("data_target.id"))
    claimed_until: Mapped[int | None] = mapped_column(BigInteger)  # as of Device
    offer: Mapped[DataTarget | None] = relationship(foreign_keys=[offer_id])


class DeviceEvent(Base):
    """What happened to a device and stands in no other table: a boot, an offer, a silence that ended, missing packs."""

    __tablename__ = "device_event"
    # A number is never given twice, so that "after number n" misses nothing.
    __table_args__ = (Index("device_event_device", "device_id", "id"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    at: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(8))  # birth, offer, silence, gap
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


class Report(Base):
    """One report of a device about an update."""

    __tablename__ = "report"
    __table_args__ = (
        Index("report_device", "device_id", "id"),
        Index("report_content", "device_id", "content", "occurrence", unique=True),
    )
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    sequence: Mapped[int] = mapped_column(BigInteger)
    phase: Mapped[str] = mapped_column(String(16))
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    # which message it was, so that one that comes again is known: a digest, and which of those with the same
    content: Mapped[str | None] = mapped_column(String(32))
    occurrence: Mapped[int] = mapped_column(Integer, default=0, server_default="0")


class VersionCount(Base):
    """How many devices of a product ran a version in six hours (store/version_counts); "" for rare ones together."""

    __tablename__ = "version_count"
    slot: Mapped[int] = mapped_column(BigInteger, primary_key=True)  # when the six hours began
    product: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    devices: Mapped[int] = mapped_column(Integer)


class CoapSession(Base):
    """A device's CoAP credential, and how far its present session has come (docs/coap-uplink.md)."""

    __tablename__ = "coap_session"
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), primary_key=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary)  # with the server's key file it gives the device's key
    echo: Mapped[bytes | None] = mapped_column(LargeBinary)  # what the session began with
    counter: Mapped[int] = mapped_column(BigInteger, default=-1)  # the highest taken
    window: Mapped[int] = mapped_column(BigInteger, default=0)  # bit n: counter - n was taken
    claim_id: Mapped[str | None] = mapped_column(String(16))  # the key is derived from this claim's secret instead


class Group(Base):
    """Devices that are looked after alike: what they are offered, and the settings people declared for them.

    A group follows a channel, or is pinned to a release, which is then offered whatever the channel holds.
    """

    __tablename__ = "fleet_group"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    channel: Mapped[str] = mapped_column(String(32), default="stable", server_default="stable")
    release_id: Mapped[int | None] = mapped_column(ForeignKey("release.id"))
    settings: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    release: Mapped[Release | None] = relationship()


class Claim(Base):
    """The right of one board to become a device, once. Its secret is derived, not stored."""

    __tablename__ = "claim"
    __table_args__ = (Index("claim_used_by", "used_by"),)
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("device.id"))  # only for this device, again
    group: Mapped[str] = mapped_column(ForeignKey("fleet_group.name"))
    name: Mapped[str | None] = mapped_column(String(32))
    board: Mapped[str | None] = mapped_column(String(32))
    product: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
    used_at: Mapped[int | None] = mapped_column(BigInteger)
    used_by: Mapped[str | None] = mapped_column(ForeignKey("device.id"))
    key: Mapped[bytes | None] = mapped_column(LargeBinary)  # the public key that used it
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)  # what the credentials it gave are derived with
    seen_at: Mapped[int | None] = mapped_column(BigInteger)  # when the device was there with them for the first time
