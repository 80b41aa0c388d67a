"""One plain line an event on the serial console, for the person with a cable; and whatever else
wants to hear of them (gate.reporting.log).
"""

from gate.clock import const

ERROR = const(0)
INFO = const(1)
DEBUG = const(2)
LEVELS = ("error", "info", "debug")

level = INFO
keep = None  # function(level, text) that is told of each line, too


def set_level(value):
    global level
    level = value


def set_keeper(function):
    global keep
    keep = function


def error(text, *values):
    _say(ERROR, text, values)


def info(text, *values):
    if level >= INFO:
        _say(INFO, text, values)


def debug(text, *values):
    if level >= DEBUG:
        _say(DEBUG, text, values)


def _say(kind, text, values):
    if values:
        text = text % values
    print("tidegate: error:" if kind == ERROR else "tidegate:", text)
    if keep:
        keep(kind, text)
