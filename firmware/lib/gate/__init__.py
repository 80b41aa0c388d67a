"""The agent: keeps one gateway up to date and answers signed commands. An application imports from
here what it needs; each name loads its module when it is first used:

    from gate import Agent, Measure, Stream, opcode, OPERATE
"""

import sys

PROTOCOL = 1  # version of the messages, docs/wire.cddl

# module:names of what an application uses
_NAMES = (
    "agent:Agent clock:Uptime telemetry.e2e_frame:Frame "
    "telemetry.streams:Stream,Measure,calibrator,MEAN,MIN,MAX,DEV,RATE,OVER "
    "commands.application_opcodes:opcode,READ,OPERATE,DANGEROUS"
)


class LinkError(Exception):
    """A message has not arrived, as far as is known; the text says why."""


class ConfigError(Exception):
    """A flashed file is missing or wrong; the text names the file, the key and the remedy, in one
    line.
    """


def __getattr__(name):
    """One of _NAMES, or a module of this package: MicroPython looks here for it first."""
    for entry in _NAMES.split():
        module, _, names = entry.partition(":")
        if name in names.split(","):
            return getattr(_load(module), name)
    if name[0] == "_" or sys.implementation.name != "micropython":
        raise AttributeError("gate has no name %s" % name)
    return _load(name)


def _load(name):
    name = "gate." + name
    __import__(name)
    return sys.modules[name]
