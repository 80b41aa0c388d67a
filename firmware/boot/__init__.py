"""The loader: chooses a slot, verifies it, runs it, and takes a bad trial back. Changed by
flashing only.
"""

try:
    from micropython import const
except ImportError:  # CPython, where the tests run too

    def const(value):
        return value


# where slots are kept
ROM = "rom"
FILES = "file"
