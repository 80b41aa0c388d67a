"""A gateway in a vehicle: three streams of telemetry.

The sensors are simulated, so that it runs on any board: a converter behind a temperature sensor, a
sagging supply, and a vehicle's bus (app.bus) of which only features leave the board. What their
readings stand for is a calibration table's word, a data component: another table takes effect at
once, without a new image (docs/telemetry.md). A source is a function that returns an integer; the
agent samples it, checks it, and sends what it says.
"""

import gc

from gate import (
    DEV,
    MAX,
    MEAN,
    MIN,
    OVER,
    RATE,
    Agent,
    Frame,
    Measure,
    Stream,
    Uptime,
    calibrator,
)

from app import bus

_uptime = Uptime()


def _wave():
    """0 to 300 and back in ten minutes."""
    return 300 - abs(_uptime.seconds() % 600 - 300)


def simulated_temperature():
    """Reading of a 12-bit converter: 17 to 25 Cel by its data sheet."""
    return 1414 + _wave() * 2 // 3


def simulated_supply():
    """mV; sags by up to 0.3 V and recovers each minute."""
    return 12400 - 5 * (_uptime.seconds() % 60)


def heap_free():
    """B"""
    gc.collect()
    return gc.mem_free() if hasattr(gc, "mem_free") else None


def uptime():
    """s"""
    return _uptime.seconds()


STREAMS = (
    Stream(
        "env",
        # The sensor's data sheet: 0 is -40 Cel, full scale 125 Cel.
        Measure("temperature", "Cel", simulated_temperature, 100, curve=((0, -40), (4095, 125))),
        Measure("supply", "V", simulated_supply, 1000, 0, 60),
    ),
    Stream("sys", Measure("heap_free", "B", heap_free), Measure("uptime", "s", uptime)),
    Stream(
        "vehicle",
        Measure("engine_speed", "1/min", (2, 2, False), 4, 0, 8000, MEAN | MAX | DEV | OVER, 3000),
        Measure("vehicle_speed", "km/h", (4, 2, False), 100, 0, 250, MEAN | MAX),
        Measure("coolant", "Cel", (6, 1, True), 1, -40, 150, MIN | MAX | RATE),
        period_ms=200,
        window=50,
        frame=Frame(bus.IDENTIFIER, bus.SIZE, bus.read_simulated),
    ),
)


def healthy():
    """The application's health check: a new release is confirmed only if this is true."""
    return 0 < simulated_supply() < 60000


def start(boot):
    """Called by the loader once this image is verified and mounted."""
    Agent(boot, STREAMS, healthy, data={"calibration": calibrator(STREAMS)}).run()
