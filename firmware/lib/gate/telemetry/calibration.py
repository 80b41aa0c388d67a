"""The calibration table of all measurements: a data component, so it is replaced while the
application runs (docs/data-components.md). Imported when a table comes, and let go of after it.

The table is JSON: {"temperature": [[reading, value], ...], ...}, two points or more for each
measurement that it calibrates, readings rising, values in the measurement's unit. Those that it
does not name, and all of them without a table, have the curve that the application gave them.
"""

import json
import os

from gate.clock import const

_MAX_SIZE = const(2048)  # bytes


def use(path, streams, make_curve):
    """Gives the measurements of these streams the curves of the table in this file; None: those
    that the application gave them. make_curve: of gate.telemetry.streams. Raises ValueError for a
    table that cannot be used, and changes nothing then.
    """
    table = {}
    if path is not None:
        if os.stat(path)[6] > _MAX_SIZE:
            raise ValueError("a table has at most %d bytes" % _MAX_SIZE)
        with open(path) as file:
            table = json.load(file)
        if not isinstance(table, dict):
            raise ValueError("the table is not an object")
    curves = []
    for stream in streams:
        for measure in stream.measures:
            points = table.pop(measure.name, None)
            curves.append(measure.given if points is None else _curve(make_curve, measure, points))
    if table:
        raise ValueError("there is no measurement %s" % sorted(table)[0])
    for stream in streams:
        for measure in stream.measures:
            measure.curve = curves.pop(0)


def _curve(make_curve, measure, points):
    try:
        return make_curve(points, measure.scale)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("%s: %s" % (measure.name, error))
