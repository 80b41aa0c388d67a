"""A server's application with a fleet of rows: devices of every standing, releases, a rollout, alarms, telemetry."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import insert, update

from ota_server.application import create_app
from ota_server.config import Config
from ota_server.fleet.waves import carry_out, change
from ota_server.security.tokens import new_token
from ota_server.store import Store, migrate, now_ms, version_counts
from ota_server.store.models import (
    Alarm,
    Device,
    DeviceEvent,
    Group,
    Point,
    Release,
    Report,
    RolloutEvidence,
    Series,
    Stream,
    Target,
)
from tidegate.rollout.terms import parse

PRODUCT, BOARDS = "tidegate-gateway", ("rpi_pico_w", "qemu_mps2")
GROUPS = ("default", "hall-1", "hall-2", "north")
MINUTE, DAY = 60_000, 86_400_000
_CHUNK = 1000
_TRACE = 'Traceback (most recent call last):\n  File "/rom/app/valve.py", line 7\nOSError: 19\ntask sensors'


class PageFleet:
    """`app` of a server with so many devices; `token(scopes)` gives a token's secret."""

    def __init__(self, folder: Path, devices: int, url: str = ""):
        self.many = devices
        self.config = Config(data=folder, database_url=url)
        folder.mkdir(parents=True, exist_ok=True)
        migrate(self.config.database)
        self.store = Store(self.config.database)
        self.now = now_ms()
        if devices:
            self._releases()
            self._devices(devices)
            self._one(_id(0))
            self._rollout()
        self.app: Flask = create_app(self.config, self.store)

    def token(self, *scopes: str) -> str:
        with self.store.write() as session:
            return new_token(session, "+".join(scopes), scopes)

    def _releases(self) -> None:
        with self.store.write() as session:
            session.add_all(Group(name=name) for name in GROUPS if name != "default")
            for number, version in enumerate(("1.0.0", "1.1.0", "1.2.0"), 1):
                release = Release(product=PRODUCT, vendor="v.example", version=version, sequence=number)
                session.add(release)
                for board in BOARDS:
                    digest = f"{version}-{board}"
                    patches = [{"digest": "0" * 64, "size": 5200 + number, "from": "1" * 64}] if number > 1 else []
                    facts = {"envelope": b"x", "manifest_digest": digest, "image_digest": digest, "image_size": 98_304}
                    release.targets.append(Target(board=board, patches=patches, **facts))

    def _devices(self, many: int) -> None:
        chance = random.Random(7)
        with self.store.write() as session:
            for start in range(0, many, _CHUNK):
                ids = range(start, min(start + _CHUNK, many))
                session.execute(insert(Device), [self._device(number, chance) for number in ids])
            for days in (10, 0):
                version_counts.note(session, self.now - days * DAY)

    def _device(self, number: int, chance: random.Random) -> dict[str, Any]:
        kind = 0.5 if number == 0 else chance.random()
        sequence = 1 if kind < 0.2 else 2
        row: dict[str, Any] = {
            "id": _id(number),
            "name": f"Pump.{number}" if number % 7 == 0 else None,
            "board": BOARDS[number % 5 == 4],
            "product": PRODUCT,
            "password_hash": "x",
            "group": GROUPS[number % len(GROUPS)],
            "online": kind < 0.95,
            "last_seen_at": self.now - number % 40 * 1000,
            "version": f"1.{sequence - 1}.0",
            "sequence": sequence,
            "digest": f"1.{sequence - 1}.0-{BOARDS[number % 5 == 4]}",
            "failed_sequence": None,
            "offer_id": None,
            "offer_sent_id": None,
            "update": None,
            "birth_at": self.now - 3_600_000,
            "reset_cause": "power-on",
            "trial": False,
        }
        if kind < 0.01:  # it went back from what it is offered
            offered = 3 if number % 5 != 4 else 4
            row |= {"failed_sequence": 2, "offer_id": offered, "offer_sent_id": offered}
            row["update"] = {"sequence": 2, "phase": "rolled-back", "detail": "not healthy in 300 s"}
        elif kind < 0.04:
            row["update"] = {"sequence": 2, "phase": "fetching", "progress": {"done": 1024, "total": 5202}}
        elif kind >= 0.95:
            row["last_seen_at"] = None if kind >= 0.99 else self.now - DAY
        if row["last_seen_at"] is None:
            row |= {"version": None, "sequence": None, "digest": None}
        return row

    def _one(self, device: str) -> None:
        """What there is to see on the page of one device."""
        with self.store.write() as session:
            session.add(Stream(device_id=device, name="env", at=self.now, packs=1440))
            chance = random.Random(3)
            for name, unit, middle in (("temperature", "Cel", 21.0), ("mem_free", "By", 90_000.0)):
                series = Series(device_id=device, stream="env", name=name, unit=unit, at=self.now, number=middle)
                session.add(series)
                session.flush()
                rows = []
                for step in range(288):
                    if not 90 < step < 120:
                        middle += (chance.random() - 0.5) * middle / 100
                        at = self.now - (288 - step) * 5 * MINUTE
                        rows.append({"series_id": series.id, "at": at, "number": round(middle, 2)})
                session.execute(insert(Point), rows)
            for at, kind, body in (
                (
                    5,
                    "birth",
                    {
                        "version": "1.0.0",
                        "sequence": 1,
                        "reset_cause": "power-on",
                        "trial": False,
                        "micropython": "1.25.0",
                    },
                ),
                (
                    3,
                    "birth",
                    {"version": "1.1.0", "sequence": 2, "reset_cause": "soft", "trial": True, "micropython": "1.25.0"},
                ),
            ):
                when = self.now - at * 3_600_000
                session.add(DeviceEvent(device_id=device, at=when, kind=kind, body=body))
            for phase in ("fetching", "installed", "trial", "confirmed"):
                body = {"sequence": 2, "phase": phase}
                at = self.now - 3 * 3_600_000
                session.add(Report(device_id=device, at=at, sequence=2, phase=phase, body=body))
            facts = {"device_id": device, "source": "device"}
            session.add(Alarm(**facts, kind="crash", reason="OSError", detail="ENODEV", trace=_TRACE))
            session.add(Alarm(**facts, kind="sensor", reason="stuck", detail="valve 3 <b>does</b> not move", count=12))
            session.add(Alarm(device_id=None, source="server", kind="login", reason="wrong-password", count=3))

    def _rollout(self) -> None:
        terms = parse(
            {
                "to": "all",
                "waves": "1%,10%,100%",
                "soak": "2h",
                "max_failures": "2%",
                "min_sample": 5,
                "watch": ["crashes"],
            }
        )
        number = change.start(self.store, PRODUCT, "1.2.0", terms, "tester", self.now)["rollout"]
        carry_out.advance(self.store, number, self.now)
        pair = {"rollout_id": number, "control_id": _id(0), "measure": "crashes", "exposure": 7200, "at": self.now}
        values = dict.fromkeys(("updated_before", "updated_after", "control_before", "control_after"), 0.0)
        losses = [{**pair, **values, "device_id": _id(n), "loss": (1, 1, -1)[n % 3]} for n in range(30)]
        with self.store.write() as session:
            session.execute(update(Device).where(Device.id == _id(0)).values(name="Pump.0"))
            if self.many >= len(losses):
                session.execute(insert(RolloutEvidence), losses)


def _id(number: int) -> str:
    return f"gw-{number:05}"
