"""Applies config.json, and the settings made over the air, to the application's streams and to the
storage of their packs.
"""

from gate import console
from gate.telemetry.streams import DAY_MS, MAX_WINDOW

_FOLDER = "/telemetry"
DROPS = ("oldest", "newest")


def tune(streams, config):
    """Applies the config to each stream of the application; the device's period is the default.
    Raises ConfigError.
    """
    for thing, name, value in plan(streams, config):
        put(thing, name, value)
    _unknown(config.streams, [stream.name for stream in streams], "stream")
    for stream in streams:
        over = config.streams.optional(stream.name).optional("over")
        _unknown(over, [measure.name for measure in stream.measures], "measurement")


def plan(streams, config):
    """[(stream or measurement, attribute, value)] that `config` sets; changes nothing. Raises
    ConfigError.
    """
    found = []
    for stream in streams:
        given = config.streams.optional(stream.name)
        default = _own(stream, "period_ms") or config.telemetry_period_s * 1000
        found.append((stream, "period_ms", given.number("period_ms", 20, DAY_MS, default)))
        default = _own(stream, "window")
        found.append((stream, "window", given.number("window", 1, MAX_WINDOW, default)))
        over = given.optional("over")
        for measure in stream.measures:
            threshold = over.real(measure.name, None)
            value = _own(measure, "over") if threshold is None else threshold * measure.scale
            found.append((measure, "over", None if value is None else round(value)))
    return found


def put(thing, name, value):
    """Sets an attribute of a stream or measurement. The application's own value is stored, for
    when the setting is dropped.
    """
    before = getattr(thing, name)
    if value != before and not hasattr(thing, "own_" + name):
        setattr(thing, "own_" + name, before)
    if value != before:
        setattr(thing, name, value)


def _own(thing, name):
    return getattr(thing, "own_" + name, getattr(thing, name))


def store(config, folder, sync):
    """(Ring or NoRing, seconds that packs wait in RAM) as the config says. Raises ConfigError."""
    segments, newest, write_s = store_plan(config)
    try:
        from gate.telemetry.ring_recovery import open_ring
    except ImportError:  # an image without
        from gate.telemetry.no_ring import NoRing

        return NoRing(), write_s
    return open_ring(folder + _FOLDER, segments, bool(newest), sync), write_s


def store_plan(config):
    """(segments, place in DROPS, seconds). Raises ConfigError."""
    given = config.store
    return (
        given.number("segments", 2, 4096, 64),
        given.choice("drop", DROPS, "oldest"),
        given.number("write_s", 1, 3600, 30),
    )


def _unknown(given, names, what):
    """Logs unknown names: another release may have them, so they are not an error."""
    for name in given.names():
        if name not in names:
            console.error("config.json: this application has no %s %s", what, name)
