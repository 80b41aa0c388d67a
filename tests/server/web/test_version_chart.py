"""Versions over time: what is counted, and what the overview shows of it."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from ota_server.application import create_app
from ota_server.config import Config
from ota_server.store import Store, now_ms, version_counts
from ota_server.store.models import Device, VersionCount
from ota_server.web import version_chart

DAY = 86_400_000


@pytest.fixture
def store(tmp_path) -> Store:
    return create_app(Config(data=tmp_path)).extensions["store"]


def devices(session, **versions: int) -> None:
    """So many devices of each version, v1_0_0=3, in place of those there are."""
    for row in session.scalars(select(Device)):
        session.delete(row)
    session.flush()
    number = 0
    for version, many in versions.items():
        for _ in range(many):
            number += 1
            name = version.strip("v").replace("_", ".") or None
            session.add(Device(id=f"gw-{number}", board="unix", product="p", version=name, password_hash="x"))


def test_six_hours_are_one_count_and_old_ones_go(store):
    now = now_ms()
    with store.write() as session:
        devices(session, v1_0_0=3, v=2)
        version_counts.note(session, now - 40 * DAY)
        version_counts.note(session, now)
        devices(session, v1_0_0=1, v1_1_0=2)
        version_counts.note(session, now)
    with store.read() as session:
        found = [(row.slot, row.version, row.devices) for row in session.scalars(select(VersionCount))]
    slot = now - now % version_counts.SLOT_MS
    assert sorted(found) == [(slot, "1.0.0", 1), (slot, "1.1.0", 2)]


def test_rare_versions_are_counted_together(store):
    with store.write() as session:
        devices(session, **{f"v1_{number}_0": 2 if number < 50 else 1 for number in range(53)})
        version_counts.note(session, now_ms())
        rows = {row.version: row.devices for row in session.scalars(select(VersionCount))}
    assert len(rows) == 51 and rows[""] == 3 and rows["1.0.0"] == 2


def test_areas_lie_on_each_other_and_make_the_whole(store):
    now = now_ms()
    with store.write() as session:
        assert version_chart.draw(session, now) is None
        devices(session, v1_0_0=4)
        version_counts.note(session, now - 2 * DAY)
        assert version_chart.draw(session, now) is None
        devices(session, v1_0_0=1, v1_1_0=3)
        version_counts.note(session, now)
        chart = version_chart.draw(session, now)
    assert [(area.name, area.share) for area in chart.areas] == [("1.1.0", 75.0), ("1.0.0", 25.0)]
    assert chart.areas[0].points == "40,148 480,43 480,148 40,148"
    assert chart.areas[1].points == "40,8 480,8 480,43 40,148"
    assert chart.rows[0][1] == [("1.1.0", 75.0), ("1.0.0", 25.0)] and len(chart.rows) == 2


def test_many_versions_are_a_few_and_the_others(store):
    now = now_ms()
    with store.write() as session:
        devices(session, **{f"v1_{number}_0": 10 - number for number in range(9)})
        version_counts.note(session, now - DAY)
        version_counts.note(session, now)
        chart = version_chart.draw(session, now)
    assert [area.name for area in chart.areas] == [f"1.{number}.0" for number in range(6)] + ["others"]
    assert sum(area.share for area in chart.areas) == pytest.approx(100, abs=0.5)
