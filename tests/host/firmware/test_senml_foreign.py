"""SenML packs of the device read by others, and theirs by the device.

The other is micropython-senml, of MicroPython's own library, on CPython with cbor2. It reads names and values only, so
units, times and base fields are read back by our host library as well, with cbor2 underneath. Ground for the device's
half: CPython, MicroPython's unix port.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cbor2
import pytest
from patience import limit
from senml import SenmlPack, SenmlRecord

from tidegate.wire import senml as ours

ROOT = Path(__file__).resolve().parents[3]
UNIX = ROOT / "build" / "unix" / "micropython"
DEVICE = ROOT / "tests/host/support/senml_device.py"
BASE = "urn:dev:org:example:gw-1:"
VALUES = [("temperature", 21.5), ("count", 7), ("open", True), ("mode", "on"), ("speed", -3.5), ("level", 0.5)]
UNITS = ["Cel", None, None, None, "m/s", "/"]
TIMES = [0, -5, 0, 0, -1, 0]
NOW = 1_800_000_000.0


@pytest.fixture(params=["cpython", pytest.param("unix", marks=pytest.mark.built)])
def device(request: pytest.FixtureRequest) -> Any:
    if request.param == "unix" and not UNIX.exists():
        pytest.skip(f"{UNIX} is not built")
    program = sys.executable if request.param == "cpython" else str(UNIX)

    def run(*arguments: str) -> list[str]:
        command = [program, str(DEVICE), str(ROOT / "firmware/lib"), *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=limit(30)
        ).stdout.splitlines()

    return run


def test_others_read_what_the_device_writes(device: Any) -> None:
    lines = device("write")
    assert len(lines) == 6
    for line, count in zip(lines, (1, 2, 6) * 2, strict=True):
        pack = SenmlPack(BASE)
        pack.from_cbor(bytes.fromhex(line))
        assert [(record.name, record.value) for record in pack] == VALUES[:count]


@pytest.mark.parametrize("base", [0, 1_700_000_000])
def test_units_times_and_base_fields_are_there(device: Any, base: int) -> None:
    lines = device("write")[3 if base else 0 :][:3]
    for line, count in zip(lines, (1, 2, 6), strict=True):
        records = ours.decode(bytes.fromhex(line), NOW)
        assert [record["name"] for record in records] == [BASE + name for name, _ in VALUES[:count]]
        assert [record.get("unit") for record in records] == UNITS[:count]
        assert [record["time"] for record in records] == [(base or NOW) + time for time in TIMES[:count]]


def test_the_device_reads_what_others_write(device: Any, tmp_path: Path) -> None:
    pack = SenmlPack("dev/")
    pack.base_time = 1_700_000_000
    pack.base_value = 20
    pack.base_unit = "Cel"
    pack.add(SenmlRecord("a", value=21.5, unit="V", time=1_700_000_005))
    pack.add(SenmlRecord("b", value=19, time=1_699_999_990))
    pack.add(SenmlRecord("c", value=True))
    pack.add(SenmlRecord("d", value="on"))
    # It writes floats as doubles and keys as they came; the device takes only what is deterministic.
    path = tmp_path / "packs"
    path.write_text(cbor2.dumps(cbor2.loads(pack.to_cbor()), canonical=True).hex() + "\n")
    # The records without a time of their own have the base time.
    assert json.loads(device("read", str(path))[0]) == [
        ["dev/a", 21.5, "V", 1_700_000_005],
        ["dev/b", 19, "Cel", 1_699_999_990],
        ["dev/c", True, "Cel", 1_700_000_000],
        ["dev/d", "on", "Cel", 1_700_000_000],
    ]
