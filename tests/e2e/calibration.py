# ruff: noqa: PTH123, UP031 - runs on MicroPython
"""The temperature's calibration: a data component, so it changes without a new image or a restart.

The table is JSON, {"gain": number, "offset": Cel}. Without one, or with one taken back, readings
go through as they are.
"""

import json

gain = 1.0
offset = 0.0


def take(path):
    """Uses the table in this file; None: uses none. Raises ValueError for one without sense."""
    global gain, offset
    if path is None:
        gain, offset = 1.0, 0.0
        return
    with open(path) as file:
        table = json.load(file)
    new_gain, new_offset = float(table["gain"]), float(table["offset"])
    if not 0.5 <= new_gain <= 2 or not -20 <= new_offset <= 20:
        raise ValueError("gain %s or offset %s is out of range" % (new_gain, new_offset))
    gain, offset = new_gain, new_offset


def apply(reading):
    return reading * gain + offset
