"""What config.json changes in the application's streams, and how their packs are kept."""

from tidegate import console
from tidegate.clock import const
from tidegate.ringopen import open_ring

_FOLDER = "/telemetry"
_DAY_MS = const(86400000)
_MOST_WINDOW = const(65535)
_DROPS = ("oldest", "newest")


def tune(streams, config):
    """Gives each stream of the application what the config says, and the device's period where
    neither does. Raises ConfigError.
    """
    for stream in streams:
        given = config.streams.optional(stream.name)
        default = stream.period_ms or config.telemetry_period_s * 1000
        stream.period_ms = given.number("period_ms", 20, _DAY_MS, default)
        stream.window = given.number("window", 1, _MOST_WINDOW, stream.window)
        over = given.optional("over")
        for measure in stream.measures:
            name = measure.name
            threshold = over.real(name, None)
            if threshold is not None:
                measure.over = round(threshold * measure.scale)
        _unknown(over, [measure.name for measure in stream.measures], "measurement")
    _unknown(config.streams, [stream.name for stream in streams], "stream")


def store(config, folder, sync):
    """(Ring, seconds that packs wait in RAM) as the config says. Raises ConfigError."""
    given = config.store
    most = given.number("segments", 2, 4096, 64)
    newest = given.choice("drop", _DROPS, "oldest")
    write_s = given.number("write_s", 1, 3600, 30)
    return open_ring(folder + _FOLDER, most, bool(newest), sync), write_s


def _unknown(given, names, what):
    """Said and passed over: the next release may have it, and must not fail for it."""
    for name in given.names():
        if name not in names:
            console.error("config.json: this application has no %s %s", what, name)
