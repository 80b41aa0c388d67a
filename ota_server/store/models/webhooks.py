"""Who is told of events, and what was sent."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ota_server.store.clock import now_ms
from ota_server.store.models._base import Base, RowId, only


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
        Index("webhook_delivery_waiting", "webhook_id", "next_at", **only("state = 'waiting'")),
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
