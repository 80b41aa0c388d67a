#!/usr/bin/env python3
"""How telemetry is best kept: bytes a value and the time of the usual questions, for three layouts in SQLite.

    python bench/telemetry_rows.py [--json]

One device, eight measurements on two streams, 2500 packs of eight values ten seconds apart: 20 000 values, what the
server keeps of a device. `wide` names device, stream, measurement and unit in each row; `series` names them once
(what the server does); `packs` keeps each pack as it came and decodes it for every question.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tidegate.wire import cbor, senml

DEVICE, NAMES = (
    "qemu-mps2-0123456789ab",
    ("temperature", "humidity", "voltage", "heap", "uptime", "rssi", "speed", "rpm"),
)
PACKS, STEP_MS, BEGAN_MS = 2500, 10_000, 1_795_000_000_000
ROUNDS = 20
PAGE = 50

LAYOUTS = {
    "wide": (
        "CREATE TABLE measurement (id INTEGER PRIMARY KEY, device_id TEXT, at INTEGER, stream TEXT, name TEXT,"
        " unit TEXT, number REAL, text TEXT)",
        "CREATE INDEX measurement_device ON measurement (device_id, id)",
        "CREATE INDEX measurement_name ON measurement (device_id, name, id)",
    ),
    "series": (
        "CREATE TABLE series (id INTEGER PRIMARY KEY, device_id TEXT, stream TEXT, name TEXT, unit TEXT,"
        " UNIQUE (device_id, stream, name))",
        "CREATE TABLE point (id INTEGER PRIMARY KEY AUTOINCREMENT, series_id INTEGER, at INTEGER, number REAL,"
        " text TEXT)",
        "CREATE INDEX point_time ON point (series_id, at)",
    ),
    "packs": (
        "CREATE TABLE pack (id INTEGER PRIMARY KEY, device_id TEXT, stream TEXT, at INTEGER, body BLOB)",
        "CREATE INDEX pack_time ON pack (device_id, stream, at)",
    ),
}


def values(pack: int) -> list[tuple[str, str, int, float]]:
    """(stream, name, at, number) of one pack."""
    at = BEGAN_MS + pack * STEP_MS
    return [("env" if n < 4 else "bus", name, at, 20.5 + (pack * 7 + n * 13) % 100 / 8) for n, name in enumerate(NAMES)]


def fill(database: sqlite3.Connection, layout: str) -> None:
    for statement in LAYOUTS[layout]:
        database.execute(statement)
    if layout == "series":
        for stream, name, _, _ in values(0):
            row = (DEVICE, stream, name, "unit")
            database.execute("INSERT INTO series (device_id, stream, name, unit) VALUES (?,?,?,?)", row)
    for pack in range(PACKS):
        rows = values(pack)
        if layout == "wide":
            wide = [(DEVICE, at, stream, name, "unit", number) for stream, name, at, number in rows]
            insert = "INSERT INTO measurement (device_id, at, stream, name, unit, number) VALUES (?,?,?,?,?,?)"
            database.executemany(insert, wide)
        elif layout == "series":
            points = [(n + 1, at, number) for n, (_, _, at, number) in enumerate(rows)]
            database.executemany("INSERT INTO point (series_id, at, number) VALUES (?,?,?)", points)
        else:
            for stream in ("env", "bus"):
                body = [{0: name, 1: "unit", 2: number} for s, name, _, number in rows if s == stream]
                body[0].update({-2: f"urn:dev:org:tidegate:{DEVICE}:", -3: rows[0][2] // 1000})
                row = (DEVICE, stream, rows[0][2], cbor.dumps(body))
                database.execute("INSERT INTO pack (device_id, stream, at, body) VALUES (?,?,?,?)", row)
    database.commit()


def page(database: sqlite3.Connection, layout: str) -> list[float]:
    """The newest values of one measurement."""
    if layout == "wide":
        ask = "SELECT number FROM measurement WHERE device_id = ? AND name = ? ORDER BY id DESC LIMIT ?"
        return [row[0] for row in database.execute(ask, (DEVICE, "voltage", PAGE))]
    if layout == "series":
        ask = (
            "SELECT number FROM point JOIN series ON series.id = series_id WHERE device_id = ? AND name = ? "
            "ORDER BY at DESC, point.id DESC LIMIT ?"
        )
        return [row[0] for row in database.execute(ask, (DEVICE, "voltage", PAGE))]
    found: list[float] = []
    ask = "SELECT at, body FROM pack WHERE device_id = ? AND stream IN ('bus', 'env') ORDER BY at DESC"
    for at, body in database.execute(ask, (DEVICE,)):
        found += [r["value"] for r in senml.decode(body, at / 1000) if r["name"].endswith(":voltage")]
        if len(found) >= PAGE:
            break
    return found[:PAGE]


def span(database: sqlite3.Connection, layout: str) -> int:
    """How many values of one measurement are of an hour in the middle."""
    middle = BEGAN_MS + PACKS * STEP_MS // 2
    between = (middle, middle + 3_600_000)
    if layout == "wide":
        ask = "SELECT count(number) FROM measurement WHERE device_id = ? AND name = ? AND at >= ? AND at < ?"
        return database.execute(ask, (DEVICE, "voltage", *between)).fetchone()[0]
    if layout == "series":
        ask = (
            "SELECT count(number) FROM point JOIN series ON series.id = series_id WHERE device_id = ? AND name = ? "
            "AND at >= ? AND at < ?"
        )
        return database.execute(ask, (DEVICE, "voltage", *between)).fetchone()[0]
    ask = "SELECT at, body FROM pack WHERE device_id = ? AND stream IN ('bus', 'env') AND at >= ? AND at < ?"
    rows = database.execute(ask, (DEVICE, *between)).fetchall()
    return sum(r["name"].endswith(":voltage") for at, body in rows for r in senml.decode(body, at / 1000))


def timed(work: Any) -> float:
    """Milliseconds, the best of some."""
    best = 1e9
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best * 1000


def measure(layout: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "db"
        database = sqlite3.connect(file)
        fill(database, layout)
        database.execute("VACUUM")
        size = file.stat().st_size
        answers = page(database, layout), span(database, layout)
        result = {
            "layout": layout,
            "bytes_a_value": round(size / (PACKS * len(NAMES)), 1),
            "page_ms": round(timed(lambda: page(database, layout)), 3),
            "hour_ms": round(timed(lambda: span(database, layout)), 3),
        }
        database.close()
    if len(answers[0]) != PAGE or answers[1] != 360:
        raise SystemExit(f"{layout}: wrong answers {answers}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    results = [measure(layout) for layout in LAYOUTS]
    if parser.parse_args().json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'layout':8} {'bytes/value':>12} {'last 50, ms':>12} {'an hour, ms':>12}")
    for r in results:
        print(f"{r['layout']:8} {r['bytes_a_value']:12} {r['page_ms']:12} {r['hour_ms']:12}")


if __name__ == "__main__":
    main()
