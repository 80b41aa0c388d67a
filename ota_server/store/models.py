"""The tables. Times are milliseconds since 1970 UTC, digests lower-case hex, so every database compares them alike."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ota_server.store.clock import now_ms

# SQLite numbers rows by itself only for the type INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")


def _only(condition: str) -> dict[str, Any]:
    """Options of an index that has only the rows for which the condition holds."""
    # SQLite learned the standard's words only in 3.39.
    plain = condition.replace("IS DISTINCT FROM", "IS NOT")
    return {"sqlite_where": text(plain), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    pass


class Token(Base):
    """An API token; only its SHA-256 is stored."""

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


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


class TrustUpdate(Base):
    """A published trust update: the signed document as devices get it, and the store in it."""

    __tablename__ = "trust_update"
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    document: Mapped[bytes] = mapped_column(LargeBinary)
    store: Mapped[bytes] = mapped_column(LargeBinary)
    held: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())  # as of DataTarget
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)


class Device(Base):
    """A registered device and the last it said of itself."""

    __tablename__ = "device"
    __table_args__ = (
        Index("device_group", "group"),
        Index("device_trust", "trust_version", "trust_sent"),
        # what the broker does not have yet: the worker looks for it all the time
        Index("device_unsent", "id", **_only("offer_id IS DISTINCT FROM offer_sent_id")),
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


class VersionCount(Base):
    """How many devices of a product ran a version in six hours (store/version_counts); "" for rare ones together."""

    __tablename__ = "version_count"
    slot: Mapped[int] = mapped_column(BigInteger, primary_key=True)  # when the six hours began
    product: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    devices: Mapped[int] = mapped_column(Integer)


class DeviceLabel(Base):
    """A key and value that people gave a device."""

    __tablename__ = "device_label"
    __table_args__ = (Index("device_label_key", "key", "value"),)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class Rollout(Base):
    """Something on its way to devices in waves (docs/rollouts.md). Who has which offer is in `rollout_device`.

    A release has its own row; of data and of a trust store the three `subject_` columns say what it is.
    """

    __tablename__ = "rollout"
    __table_args__ = (Index("rollout_release", "release_id"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    release_id: Mapped[int | None] = mapped_column(ForeignKey("release.id"))
    subject_product: Mapped[str | None] = mapped_column(String(64))
    subject_version: Mapped[str | None] = mapped_column(String(64))  # tidegate.rollout.subject: maps@7, trust@4
    subject_sequence: Mapped[int | None] = mapped_column(BigInteger)
    terms: Mapped[dict[str, Any]] = mapped_column(JSON)  # tidegate.rollout.Terms.document
    state: Mapped[str] = mapped_column(String(8), default="running")  # running, paused, done, aborted
    why: Mapped[str | None] = mapped_column(String(256))  # it is paused or was aborted
    wave: Mapped[int] = mapped_column(Integer, default=1)  # waves that are open
    wave_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)  # when the newest was opened
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    release: Mapped[Release | None] = relationship()

    @property
    def product(self) -> str:
        return self.release.product if self.release is not None else self.subject_product or ""

    @property
    def version(self) -> str:
        """What people call it: 1.4.0 of a release, maps@7 of a data component, trust@4 of a trust store."""
        return self.release.version if self.release is not None else self.subject_version or ""

    @property
    def sequence(self) -> int:
        return self.release.sequence if self.release is not None else self.subject_sequence or 0


class ErrorBudget(Base):
    """How many updates of a product may fail in a period (fleet/slo)."""

    __tablename__ = "error_budget"
    product: Mapped[str] = mapped_column(String(64), primary_key=True)
    slo: Mapped[str] = mapped_column(String(24))  # tidegate.rollout.slo
    lifted_until: Mapped[int] = mapped_column(BigInteger, default=0)  # a person lets rollouts begin all the same


class RolloutDevice(Base):
    """A device that a rollout has offered its subject to, and how far it said it has come with it.

    What is granted is one of `target_id`, `data_target_id` and `trust_version`. `state` is the last that it said:
    offered, downloading, installed, trial, confirmed, rolled-back, refused, failed, or excused by a person. What the
    silence of a device means is derived (store/rollout_states).
    """

    __tablename__ = "rollout_device"
    __table_args__ = (
        Index("rollout_device_device", "device_id"),
        Index("rollout_device_granted", "granted_at"),
        # the worker looks for it all the time
        Index("rollout_device_trust_version", "device_id", **_only("trust_version IS NOT NULL")),
    )
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollout.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), primary_key=True)
    target_id: Mapped[int | None] = mapped_column(ForeignKey("target.id"))
    data_target_id: Mapped[int | None] = mapped_column(ForeignKey("data_target.id"))
    trust_version: Mapped[int | None] = mapped_column(ForeignKey("trust_update.version"))
    wave: Mapped[int] = mapped_column(Integer)
    granted_at: Mapped[int] = mapped_column(BigInteger)
    withdrawn_at: Mapped[int | None] = mapped_column(BigInteger)  # it had not taken the offer when that ended
    reached_at: Mapped[int | None] = mapped_column(BigInteger)  # when it was there with the offer for the first time
    state: Mapped[str] = mapped_column(String(12), default="offered")
    state_at: Mapped[int] = mapped_column(BigInteger)
    why: Mapped[str | None] = mapped_column(String(256))
    from_version: Mapped[str | None] = mapped_column(String(64))
    control_id: Mapped[str | None] = mapped_column(ForeignKey("device.id"))  # not updated yet; compared with it


class RolloutEvent(Base):
    """What happened to a rollout: by whom, and why."""

    __tablename__ = "rollout_event"
    __table_args__ = (Index("rollout_event_rollout", "rollout_id", "id"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollout.id"))
    at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    kind: Mapped[str] = mapped_column(String(16))  # started, wave, paused, resumed, aborted, promoted, retried, ...
    by: Mapped[str] = mapped_column(String(80))
    why: Mapped[str | None] = mapped_column(String(256))


class RolloutEvidence(Base):
    """One comparison of an updated device with its control: what each measured, before and in the soak.

    It is made once, when the time for it has come, and never again: the test counts on that.
    """

    __tablename__ = "rollout_evidence"
    __table_args__ = (UniqueConstraint("rollout_id", "device_id", "measure", "exposure"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollout.id"))
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    control_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    measure: Mapped[str] = mapped_column(String(64))
    exposure: Mapped[int] = mapped_column(BigInteger)  # seconds after it was confirmed
    at: Mapped[int] = mapped_column(BigInteger)
    updated_before: Mapped[float] = mapped_column(Double)
    updated_after: Mapped[float] = mapped_column(Double)
    control_before: Mapped[float] = mapped_column(Double)
    control_after: Mapped[float] = mapped_column(Double)
    loss: Mapped[int] = mapped_column(Integer)  # 1: the updated one did worse, -1 better, 0 about as well


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


class DeviceData(Base):
    """A data component of one device: what its last birth says it holds, and what it is offered."""

    __tablename__ = "device_data"
    __table_args__ = (Index("device_data_unsent", "device_id", **_only("offer_id IS DISTINCT FROM offer_sent_id")),)
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


class CoapSession(Base):
    """A device's CoAP credential, and how far its present session has come (docs/coap-uplink.md)."""

    __tablename__ = "coap_session"
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), primary_key=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary)  # with the server's key file it gives the device's key
    echo: Mapped[bytes | None] = mapped_column(LargeBinary)  # what the session began with
    counter: Mapped[int] = mapped_column(BigInteger, default=-1)  # the highest taken
    window: Mapped[int] = mapped_column(BigInteger, default=0)  # bit n: counter - n was taken
    claim_id: Mapped[str | None] = mapped_column(String(16))  # the key is derived from this claim's secret instead


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


class WebSession(Base):
    """Somebody who is signed in at the page; only the SHA-256 of the cookie is stored.

    Who came with a token may do what the token may, as long as it is valid; others what their role allows.
    """

    __tablename__ = "web_session"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_id: Mapped[int | None] = mapped_column(ForeignKey("token.id"))
    who: Mapped[str] = mapped_column(String(80))  # for the audit log
    scopes: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    expires_at: Mapped[int] = mapped_column(BigInteger)


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
        Index("command_message", "expires_at", **_only("message IS NOT NULL")),
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


class Audit(Base):
    """One privileged act. Each row's hash covers the row before it, so none can be changed or left out unseen."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_subject", "subject", "id"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(128))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous: Mapped[str] = mapped_column(String(64), unique=True)  # unique: two writers cannot fork the chain
    hash: Mapped[str] = mapped_column(String(64), unique=True)


class Webhook(Base):
    """Where somebody wants to hear of events (ota_server/webhooks). The secret that signs is derived from `salt`."""

    __tablename__ = "webhook"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    url: Mapped[str] = mapped_column(String(512))
    events: Mapped[str] = mapped_column(String(256))  # a blank between them
    private: Mapped[bool] = mapped_column(Boolean)  # its address may be one of a network of one's own
    salt: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[int] = mapped_column(BigInteger, default=now_ms)
    removed_at: Mapped[int | None] = mapped_column(BigInteger)


class WebhookDelivery(Base):
    """One message to one webhook: to be sent while it waits, afterwards an entry of the log.

    It is written in the transaction of what it is about. `body` is stored as sent, since each try must be the same.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("webhook_delivery_webhook", "webhook_id", "id"),
        Index("webhook_delivery_waiting", "webhook_id", "next_at", **_only("state = 'waiting'")),
    )
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhook.id"))
    message: Mapped[str] = mapped_column(String(40))  # its id for the receiver, the same at each try
    event: Mapped[str] = mapped_column(String(24))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(10))  # waiting, delivered, given-up, dropped, removed
    tries: Mapped[int] = mapped_column(Integer)
    next_at: Mapped[int] = mapped_column(BigInteger)  # the next try, or until when the present one is somebody's
    status: Mapped[int | None] = mapped_column(Integer)  # of the last answer
    why: Mapped[str | None] = mapped_column(String(200))  # the last try failed
    ended_at: Mapped[int | None] = mapped_column(BigInteger)


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
