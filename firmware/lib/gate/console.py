"""One plain line an event on the serial console, for the person with a cable. A listener gets
each line, too (gate.reporting.log).
"""

from gate.clock import const

ERROR = const(0)
INFO = const(1)
DEBUG = const(2)
LEVELS = ("error", "info", "debug")

level = INFO
listener = None  # function(level, text)


def set_level(value):
    global level
    level = value


def set_listener(function):
    global listener
    listener = function


def error(text, *values):
    _write(ERROR, text, values)


def info(text, *values):
    if level >= INFO:
        _write(INFO, text, values)


def debug(text, *values):
    if level >= DEBUG:
        _write(DEBUG, text, values)


def _write(kind, text, values):
    if values:
        text = text % values
    print("tidegate: error:" if kind == ERROR else "tidegate:", text)
    if listener:
        listener(kind, text)
