"""Telemetry packs as the device's own code makes them, for bench/wire.py: one line of JSON, names to lists of packs in
hex. Runs on CPython with firmware/lib on the path.

env: one window of the example application's stream `env`. features: one window of its stream `vehicle`, 50 frames at
5 Hz. raw: those 50 samples, each sent as it is taken. batch: those 50, as many records to a pack as there may be.
"""

import json

import senml_cbor
from gate.telemetry.streams import DEV, MAX, MEAN, MIN, OVER, RATE, Measure, Stream

BASE = "urn:dev:org:tidegate:gate-7:"
WINDOW, PERIOD_MS = 50, 200
NUMBER = 0x2A3B4C5D  # of a pack; the device begins anywhere


def pack():
    return senml_cbor.Pack(BASE, None, bytearray(4096))


def told(streams, number=NUMBER):
    """The pack of all that has gathered, as it is sent."""
    out = pack()
    streams.tell(out)
    streams.clear()
    return bytes(out.finish(((-257, number),))).hex()


def drive(step):
    """Engine speed in 0.25/min, vehicle speed in 0.01 km/h, coolant in Cel, as app.bus simulates them."""
    tenths = step * 2 % 1200
    ramp = 600 - abs(tenths - 600)
    return 3200 + 16 * ramp + tenths % 7 * 12, ramp * 20, 82 + ramp // 100


def bus(window, at):
    """The example's stream `vehicle`; at[0] is the step of the drive."""
    stream = Stream(
        "vehicle",
        Measure("engine_speed", "1/min", lambda: drive(at[0])[0], 4, 0, 8000, MEAN | MAX | DEV | OVER, 3000),
        Measure("vehicle_speed", "km/h", lambda: drive(at[0])[1], 100, 0, 250, MEAN | MAX),
        Measure("coolant", "Cel", lambda: drive(at[0])[2], 1, -40, 150, MIN | MAX | RATE),
        period_ms=PERIOD_MS,
        window=window,
    )
    stream.start(0)
    return stream


def run_bus(window):
    at = [200]
    stream, packs = bus(window, at), []
    for step in range(WINDOW):
        at[0] = 200 + step
        if stream.sample(step * PERIOD_MS):
            packs.append(told(stream, NUMBER + len(packs)))
    return packs


def batch():
    """The same samples with their times, 63 records to a pack."""
    packs, out = [], pack()
    for step in range(WINDOW):
        engine, speed, coolant = drive(200 + step)
        age = -((WINDOW - 1 - step) * PERIOD_MS) / 1000 or None
        for name, value, unit, scale in (
            ("engine_speed", engine, "1/min", 4),
            ("vehicle_speed", speed, "km/h", 100),
            ("coolant", coolant, "Cel", 1),
        ):
            out.add(name, value, unit, age, scale)
        if len(out) == 63 or step == WINDOW - 1:
            packs.append(bytes(out.finish(((-257, NUMBER + len(packs)),))).hex())
            out = pack()
    return packs


def env():
    stream = Stream(
        "env",
        Measure("temperature", "Cel", lambda: 2153, 100),
        Measure("supply", "V", lambda: 12345, 1000, 0, 60),
    )
    stream.start(0)
    stream.sample(0)
    return [told(stream)]


print(json.dumps({"env": env(), "features": run_bus(WINDOW), "raw": run_bus(1), "batch": batch()}))
