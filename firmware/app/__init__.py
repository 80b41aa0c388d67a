"""The example gateway: two streams of telemetry. Replace this file with your own application.

The sensors are simulated, so that it runs on any board: a slow daily wave for the temperature, a
sagging supply. A source is a function that returns a value; the agent samples, keeps and sends it.
"""

import gc
import math

from tidegate.agent import Agent
from tidegate.clock import Uptime
from tidegate.telemetry import Stream

_uptime = Uptime()


def simulated_temperature():
    """Cel; a day's wave in ten minutes."""
    return round(21 + 4 * math.sin(_uptime.seconds() / 600 * 2 * math.pi), 2)


def simulated_supply():
    """V; sags by up to 0.3 V and recovers each minute."""
    return round(12.4 - 0.3 * (_uptime.seconds() % 60) / 60, 3)


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
        ("temperature", "Cel", simulated_temperature),
        ("supply", "V", simulated_supply),
    ),
    Stream("sys", ("heap_free", "B", heap_free), ("uptime", "s", uptime)),
)


def healthy():
    """The application's word on itself: a new release is kept only if this is true."""
    return 0 < simulated_supply() < 60


def start(boot):
    """Called by the loader once this image is verified and mounted."""
    Agent(boot, STREAMS, healthy).run()
