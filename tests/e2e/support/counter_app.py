"""An application that counts, so that a test sees which values arrive: boot * 100000 + n, n from 0 at each start."""

SOURCE = """
from {package}.agent import Agent
from {streams} import Measure, Stream

_next = [0]


def _boot():
    try:
        with open("/boots") as file:
            boot = int(file.read()) + 1
    except OSError:
        boot = 1
    with open("/boots", "w") as file:
        file.write(str(boot))
    return boot


def count():
    value = _next[0]
    _next[0] += 1
    print("counted", value)
    return value


def start(boot):
    _next[0] = _boot() * 100000
    print("agent", {package!r}, {version!r})
    streams = (Stream("count", Measure("n", "count", count), period_ms={period_ms}),)
    Agent(boot, streams, health=lambda: {healthy}).run()
"""


def source(version: str = "1.0.0", period_ms: int = 100, healthy: bool = True, before_rooms: bool = False) -> str:
    """The text of the application; before_rooms: for the agent that was imported as `tidegate`."""
    package, streams = ("tidegate", "tidegate.streams") if before_rooms else ("gate", "gate.telemetry.streams")
    return SOURCE.format(package=package, streams=streams, version=version, period_ms=period_ms, healthy=healthy)
