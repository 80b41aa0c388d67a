"""The server's database with a large fleet: CPU of what is read and done all the time, on SQLite.

    make bench-store [ARGS="--devices 10000 --points 2000000"]

CPU is of one process in milliseconds (user and system), the steady figure on a machine where others work; the least of
several runs. The fleet: devices with five series each, all offered a release, one in a hundred failed at it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "server" / "support")]

import large_database  # noqa: E402
from sqlalchemy import insert, select, update  # noqa: E402

from ota_server.application import create_app  # noqa: E402
from ota_server.config import Config  # noqa: E402
from ota_server.security import tokens  # noqa: E402
from ota_server.store import Store, commands, downlink_queue, now_ms, retention  # noqa: E402
from ota_server.store.models import ChannelRelease, Device, Point, Release, Series, Target  # noqa: E402

RUNS = 5


def cpu_ms(work: Callable[[], Any], runs: int = RUNS) -> float:
    least = 1e9
    for _ in range(runs):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
    return least * 1000


def fleet(folder: Path, devices: int, points: int) -> Store:
    store = large_database.fill(
        f"sqlite:///{folder}/tidegate.db", devices, online=True, last_seen_at=now_ms(), sequence=1
    )
    with store.write() as session:
        release = Release(product="tidegate-gateway", vendor="v", version="1.1.0", sequence=2)
        session.add(release)
        session.flush()
        session.add(ChannelRelease(channel="stable", release_id=release.id))
        facts = {"envelope": b"e" * 900, "manifest_digest": "0" * 64, "image_digest": "1" * 64, "image_size": 200_000}
        target = Target(release_id=release.id, board="unix", patches=[{"base": "2" * 64, "size": 20_000}] * 8, **facts)
        session.add(target)
        session.flush()
        said = {"phase": "failed", "sequence": 2, "detail": "no room", "again_s": None, "state": 0, "result": 7}
        session.execute(update(Device).values(offer_id=target.id, offer_sent_id=target.id))
        session.execute(update(Device).where(Device.id.like("%50")).values(failed_sequence=2, update=said))
        series = session.scalars(select(Series.id)).all()
    made = 0
    while made < points:
        with store.write() as session:
            some = [
                {"series_id": series[n % len(series)], "at": now_ms() - 1000 * n, "number": float(n % 97)}
                for n in range(made, min(made + 100_000, points))
            ]
            session.execute(insert(Point), some)
        made += len(some)
    return store


def figures(devices: int, points: int, folder: Path) -> dict[str, dict[str, float]]:
    began = time.process_time()
    store = fleet(folder, devices, points)
    made_ms = (time.process_time() - began) * 1000
    app = create_app(Config(data=folder), store)
    with store.write() as session:
        token = tokens.new_token(session, "bench", ["read"])
    client = app.test_client()
    headers = {"Authorization": f"Bearer {token}"}

    def ask(path: str) -> tuple[float, float]:
        answers = []
        took = cpu_ms(lambda: answers.append(client.get(f"/api/v1{path}", headers=headers)))
        if answers[-1].status_code != 200:
            raise SystemExit(f"{path}: {answers[-1].text}")
        return took, len(answers[-1].data)

    one = large_database.device_id(7)
    out = {"making the database": {"ms": made_ms}}
    for name, path in {
        "devices, 50 rows": "/devices?limit=50",
        "devices, 500 rows": "/devices?limit=500",
        "a device": f"/devices/{one}",
        "a poll of the page": "/status",
        "groups": "/groups",
        "rollouts": "/rollouts",
        "a rollout, 50 rows": "/rollouts/tidegate-gateway/1.1.0",
        "a rollout, 500 rows": "/rollouts/tidegate-gateway/1.1.0?limit=500",
        "its failed devices": "/rollouts/tidegate-gateway/1.1.0?state=failed",
        "history, 500 rows": f"/devices/{one}/telemetry?limit=500",
    }.items():
        took, size = ask(path)
        out[name] = {"ms": took, "bytes": size}

    def look() -> None:
        with store.read() as session:
            downlink_queue.is_anything_unsent(session)
            commands.pending(session, 100)

    def over() -> None:
        with store.read() as session:
            commands.over(session)

    out["a look for what is unsent (every second)"] = {"ms": cpu_ms(look)}
    out["a look for commands that are over (every second)"] = {"ms": cpu_ms(over)}
    out["housekeeping with nothing to do (every 30 s)"] = {
        "ms": cpu_ms(lambda: retention.prune_rows(store) + retention.prune_many(store, retention.Keep()))
    }
    old = cpu_ms(lambda: retention.prune_old(store, retention.Keep()), 1)
    out["looking for old points (once an hour)"] = {"ms": old}
    store.close()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="Example: python bench/store.py --devices 2000 --json"
    )
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=500_000)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        found = figures(options.devices, options.points, Path(folder))
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{options.devices} devices, {options.points} points\n{'':52}{'CPU ms':>9}{'bytes':>10}")
    for name, row in found.items():
        print(f"{name:52}{row['ms']:9.1f}{row.get('bytes', ''):>10}")


if __name__ == "__main__":
    main()
