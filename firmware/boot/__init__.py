"""The loader: selects a slot, verifies it, runs it, and rolls a failed trial back. Only flashing
changes it.
"""

try:
    from micropython import const
except ImportError:  # CPython, where the tests run too

    def const(value):
        return value


# where slots are stored
ROM = "rom"
FILES = "file"
