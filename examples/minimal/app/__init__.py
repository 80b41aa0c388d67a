"""A gateway in twenty lines: it watches a tank, and warns above a limit that is set over the air."""

from gate import Call, Uptime, command, measurement, setting

clock = Uptime()
limit = setting("limit", int, 0, 100, 80)


@measurement("level", "%")
def level():
    """Simulated: read your sensor here."""
    return clock.seconds() % 100


@command("tank.state")
def state(call: Call):
    """What is said to `tidegate cmd send ID tank.state`."""
    return {"level": level(), "full": level() > limit.value}
