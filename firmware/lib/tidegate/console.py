"""One plain line an event on the serial console, for the person with a cable."""

from tidegate.clock import const

ERROR = const(0)
INFO = const(1)
DEBUG = const(2)
LEVELS = ("error", "info", "debug")

_level = INFO


def set_level(level):
    global _level
    _level = level


def error(text, *values):
    print("tidegate: error:", text % values if values else text)


def info(text, *values):
    if _level >= INFO:
        print("tidegate:", text % values if values else text)


def debug(text, *values):
    if _level >= DEBUG:
        print("tidegate:", text % values if values else text)
