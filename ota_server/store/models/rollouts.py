"""Rollouts: what they bring to whom, and why they stand where they do."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ota_server.store.clock import now_ms
from ota_server.store.models._base import Base, RowId, only
from ota_server.store.models.releases import Release


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
        Index("rollout_device_trust_version", "device_id", **only("trust_version IS NOT NULL")),
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


class ErrorBudget(Base):
    """How many updates of a product may fail in a period (fleet/slo)."""

    __tablename__ = "error_budget"
    product: Mapped[str] = mapped_column(String(64), primary_key=True)
    slo: Mapped[str] = mapped_column(String(24))  # tidegate.rollout.slo
    lifted_until: Mapped[int] = mapped_column(BigInteger, default=0)  # a person lets rollouts begin all the same
