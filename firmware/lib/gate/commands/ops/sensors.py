"""The opcode that reads the application's sensors now."""

from gate.telemetry.streams import field, interpolate


async def sensors(call):
    """{stream: {measurement: value in units, or what went wrong}}, read now, or from the last
    frame. failures, rejected: counters of the stream.
    """
    found = {}
    for stream in call.agent.streams:
        values = found[stream.name] = {}
        for measure in stream.measures:
            values[measure.name] = _read(stream, measure)
            await call.pause()
        values["failures"] = stream.failures
        values["rejected"] = stream.rejected
        values["period_ms"] = stream.period_ms
    return found


def _read(stream, measure):
    try:
        read = measure.read
        value = field(stream.frame.data, read) if stream.frame else read()
        if value is None:
            return None
        curve = measure.curve
        if not isinstance(value, int):
            value = round(value if curve else value * measure.scale)
        if curve:
            value = interpolate(curve, value)
    except Exception as error:
        return ("%s: %s" % (type(error).__name__, error))[:60]
    if not measure.low <= value <= measure.high:
        return "%s is out of range" % (value / measure.scale)
    return value if measure.scale == 1 else value / measure.scale
