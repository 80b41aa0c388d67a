"""The names that the agent hands out to applications: each loads, and is what its module has."""

import sys

import gate
from check import equal, raises, true
from gate import exports


def test_every_name_loads():
    for entry in exports.NAMES.split():
        module, _, names = entry.partition(":")
        for name in names.split(","):
            found = getattr(gate, name)
            true(found is getattr(sys.modules["gate." + module], name), name)


def test_what_an_application_imports():
    from gate import OPERATE, READ, Agent, Measure, Stream, opcode

    true(callable(Agent) and callable(Measure) and callable(Stream) and callable(opcode))
    equal(len({READ, OPERATE}), 2)


def test_other_names_are_refused():
    raises((AttributeError, ImportError), lambda: gate.nothing)
