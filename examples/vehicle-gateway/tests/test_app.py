"""`tidegate test` runs these on CPython, on MicroPython for Linux and on the emulated board."""

import app
from app import bus
from gate.telemetry.e2e_frame import crc8


def test_a_frame_carries_its_checksum_and_a_counter():
    first, second = bytearray(bus.SIZE), bytearray(bus.SIZE)
    assert bus.read_simulated(first) and bus.read_simulated(second)
    assert first[0] == crc8(first, bus.IDENTIFIER)
    assert second[1] == (first[1] + 1) % 15


def test_the_thermometer_stays_within_its_converter():
    assert 0 <= app.simulated_temperature() < 4096


def test_a_gateway_with_supply_is_healthy():
    assert app.healthy()
