"""The agent: keeps one gateway up to date and answers signed commands. An application imports from
here what it needs (gate.exports); each name loads its module when it is first used:

    from gate import measurement, ready, command, OPERATE
"""

import sys

PROTOCOL = 1  # version of the messages, docs/wire.cddl


class LinkError(Exception):
    """A message has not arrived, as far as is known; the text says why."""


class ConfigError(Exception):
    """A flashed file is missing or wrong; the text names the file, the key and the remedy, in one
    line.
    """


def __getattr__(name):
    """A name for applications, or a module of this package: MicroPython looks here first."""
    if name[0] != "_":
        try:
            module = _load("exports").home(name)
        except ImportError:  # the loader, which has no application
            module = None
        if module:
            return getattr(_load(module), name)
        if sys.implementation.name == "micropython":
            return _load(name)
    raise AttributeError("gate has no name %s" % name)


def _load(name):
    name = "gate." + name
    __import__(name)
    return sys.modules[name]
