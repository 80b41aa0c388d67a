"""A fleet that is rows in a database, with releases, for tests of rollouts: no network, no devices, a clock by hand."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select

from ota_server.fleet.waves import carry_out, change, found, show
from ota_server.store import Store, migrate, rollout_reports
from ota_server.store.models import Device, Release, Rollout, RolloutEvent, Target
from tidegate.rollout.terms import parse

PRODUCT, BOARD = "tidegate-gateway", "unix"
MINUTE, HOUR = 60_000, 3_600_000


class Fleet:
    """`store` of a migrated database at `url`. Times are ms; `now` is what the rollout is told."""

    def __init__(self, url: str, devices: int = 0, online: bool = True):
        migrate(url)
        self.store = Store(url)
        self.now = 1_800_000_000_000
        self.add(range(devices), online=online)
        self.release("1.0.0", 1)

    def add(self, numbers: Any, **columns: Any) -> list[str]:
        facts = {"board": BOARD, "product": PRODUCT, "password_hash": "x", "version": "1.0.0", "sequence": 1}
        facts |= {"online": True, "last_seen_at": self.now, "digest": "old", "group": "default"} | columns
        ids = [f"gw-{number:05}" for number in numbers]
        if ids:
            with self.store.write() as session:
                session.execute(insert(Device), [{"id": one, **facts} for one in ids])
        return ids

    def release(self, version: str, sequence: int, boards: tuple[str, ...] = (BOARD,), **columns: Any) -> None:
        """A published release that stands in no channel; `columns` of its targets."""
        with self.store.write() as session:
            release = Release(product=PRODUCT, vendor="v.example", version=version, sequence=sequence)
            session.add(release)
            for board in boards:
                image = f"{version}-{board}"
                facts = {"envelope": b"x", "manifest_digest": image, "image_digest": image, "image_size": 9, **columns}
                release.targets.append(Target(board=board, patches=[], **facts))

    def start(self, version: str = "1.1.0", **terms: Any) -> int:
        """Start it at `now`; the rollout's number."""
        words = {"to": "all", "waves": "100%", "soak": "0s", **terms}
        return int(self.change("start", version, parse(words))["rollout"])

    def change(self, act: str, version: str, what: Any = None) -> dict[str, Any]:
        """What a person does, at `now`: start, pause, resume, abort or promote."""
        done: dict[str, Any] = getattr(change, act)(self.store, PRODUCT, version, what, "tester", self.now)
        return done

    def advance(self, number: int, after_ms: int = 0) -> list[str]:
        self.now += after_ms
        return carry_out.advance(self.store, number, self.now)

    def says(self, device: str, phase: str, sequence: int = 2, detail: str | None = None) -> None:
        """What the device reports of the release, at `now`."""
        self.say_all([device], phase, sequence, detail)

    def say_all(self, devices: list[str], phase: str, sequence: int = 2, detail: str | None = None) -> None:
        """The same of many at once."""
        with self.store.write() as session:
            granted = rollout_reports.granted(session, devices)
            for row in session.scalars(select(Device).where(Device.id.in_(devices)).order_by(Device.id)):
                if phase == "confirmed":
                    row.sequence, row.version = sequence, f"1.{sequence - 1}.0"
                elif phase in ("rolled-back", "failed", "refused"):
                    row.failed_sequence = sequence
                row.last_seen_at = self.now
                rollout_reports.on_report(granted[row.id], sequence, phase, detail, None, self.now)

    def offered(self, sequence: int = 2) -> set[str]:
        """Who is offered the release of this number, as the downlink sees it."""
        with self.store.read() as session:
            found_ = select(Device.id).join(Target, Target.id == Device.offer_id).join(Release)
            return set(session.scalars(found_.where(Release.sequence == sequence)))

    def status(self, number: int) -> dict[str, Any]:
        with self.store.read() as session:
            return show.status(session, session.get_one(Rollout, number), self.now)

    def events(self, number: int) -> list[tuple[str, str | None]]:
        with self.store.read() as session:
            rows = found.history(session, session.get_one(Rollout, number), 0, 100)
            return [(row.kind, row.why) for row in rows if isinstance(row, RolloutEvent)]
