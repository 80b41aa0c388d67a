"""A database of a large fleet, made in a second or two: rows go in by the thousand, not through the API."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from ota_server.store import Store, migrate, now_ms
from ota_server.store.models import Device, Series

DEVICES, SERIES = 10_000, 5  # series of each device
_CHUNK = 1000


def device_id(number: int) -> str:
    return f"gw-{number:05}"


def fill(url: str, devices: int = DEVICES, series: int = SERIES, **columns: Any) -> Store:
    """A migrated database with devices of one board and product; `columns` are the same for all of them."""
    migrate(url)
    store = Store(url)
    facts = {"board": "unix", "product": "tidegate-gateway", "password_hash": "x", **columns}
    with store.write() as session:
        for start in range(0, devices, _CHUNK):
            ids = [device_id(number) for number in range(start, min(start + _CHUNK, devices))]
            session.execute(insert(Device), [{"id": one, **facts} for one in ids])
            rows = [
                {"device_id": one, "stream": "env", "name": f"m{n}", "at": now_ms(), "number": 1.0, "points": 1}
                for one in ids
                for n in range(series)
            ]
            if rows:
                session.execute(insert(Series), rows)
    return store
