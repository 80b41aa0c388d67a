"""Keeps the tables bounded: each device has so many rows of each kind, the oldest go first."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ota_server.config import KEEP_ALARMS, KEEP_COMMANDS, KEEP_REPORTS, KEEP_TELEMETRY

from .models import Alarm, Command, Device, Measurement, Report

_KEPT: tuple[tuple[type[Measurement | Report | Alarm | Command], int], ...] = (
    (Measurement, KEEP_TELEMETRY),
    (Report, KEEP_REPORTS),
    (Alarm, KEEP_ALARMS),
    (Command, KEEP_COMMANDS),
)


def prune(session: Session) -> None:
    """Delete what is beyond each limit. The index on (device, id) finds the border without a scan."""
    for device_id in session.scalars(select(Device.id)).all():
        for table, keep in _KEPT:
            border = session.scalar(
                select(table.id).where(table.device_id == device_id).order_by(table.id.desc()).offset(keep).limit(1)
            )
            if border is not None:
                session.execute(delete(table).where(table.device_id == device_id, table.id <= border))
