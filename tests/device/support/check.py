"""What a device test script needs: a few comparisons, skipping, and the shared vectors.

Runs on CPython, MicroPython's unix port and the emulated board alike; `run.py` calls `place` before the script.
"""

import gc
import json
import sys

_root = "."
ground = "cpython"  # "cpython" | "unix" | "cortex-m3", set by run.py
settings = {}  # what the script's services pass (../services), str -> str


class Skip(Exception):
    """This function cannot run here; its text says why."""


def place(root, on, given):
    """Called by the runner: the project root, the ground's name, the settings."""
    global _root, ground
    _root = root
    ground = on
    settings.update(given)


def root():
    """The project's root folder as this ground sees it."""
    return _root


def full():
    """Whether this is `make soak`, where what repeats itself does it at full length."""
    return "full" in settings


def skip(why):
    raise Skip(why)


def network():
    """Brings the board's network up; the other grounds have theirs."""
    if ground != "cortex-m3":
        return
    import time

    from boot.board import Board

    board = Board()
    board.network_up()
    for _ in range(200):
        if board.link():
            return
        time.sleep_ms(50)
    raise AssertionError("no address from DHCP within 10 s")


def true(value, what="value"):
    if not value:
        raise AssertionError("%s is %r" % (what, value))


def equal(got, wanted, what="value"):
    # 1 == True and 1 == 1.0 in Python, but a decoder that mixes them up is wrong.
    if type(got) is not type(wanted) or got != wanted:
        raise AssertionError("%s is %s, not %s" % (what, _short(got), _short(wanted)))


def raises(kind, function, *args, **named):
    """Calls function, returns the `kind` it raised, or fails."""
    try:
        value = function(*args, **named)
    except kind as error:
        return error
    raise AssertionError("%s expected, got %s" % (kind.__name__, _short(value)))


def vectors(name, most=None, board=None, folder="/tests/vectors/"):
    """Yields the entries of tests/vectors/<name>.json, a JSON array written one entry a line.

    Read line by line: the file need not fit in the heap. `most` (or `board`, on the emulated board) takes only
    that many, spread evenly over the file.
    """
    if ground == "cortex-m3" and board is not None:
        most = board
    path = _root + folder + name + ".json"
    every = 1
    if most is not None:
        every = max(1, (sum(1 for _ in _lines(path)) + most - 1) // most)
    for number, line in enumerate(_lines(path)):
        if number % every == 0:
            yield json.loads(line)


def _lines(path):
    with open(path) as file:
        for line in file:
            gc.collect()  # lines are long, and the next needs its place in one piece
            line = line.strip()
            if line.startswith("{") or (line.startswith("[") and len(line) > 1):
                yield line[:-1] if line.endswith(",") else line


def made_vectors(name, board=None):
    """As `vectors`, of a file that the session made of an installed package (conftest.py); not in the repo."""
    try:
        open(_root + "/build/vectors/" + name + ".json").close()
    except OSError:
        raise Skip("no build/vectors/%s.json: its package is not installed" % name)
    return vectors(name, board=board, folder="/build/vectors/")


def document(name):
    """tests/vectors/<name>.json as a whole; only for small files."""
    with open(_root + "/tests/vectors/" + name + ".json") as file:
        return json.load(file)


def foreign(name):
    """A foreign vector file from the shared folder beside the project; never on the board, never in the repo."""
    if ground == "cortex-m3":
        raise Skip("foreign vectors stay on the host")
    try:
        with open(_root + "/../shared/vectors/" + name) as file:
            return json.load(file)
    except OSError:
        raise Skip("no ../shared/vectors/" + name)


def _short(value):
    text = repr(value)
    return text if len(text) <= 120 else text[:110] + "... (%d characters)" % len(text)


class Random:
    """The same numbers on every ground: a 31-bit Lehmer generator, for mutations in tests, never for secrets."""

    def __init__(self, seed=1):
        self._state = seed % 2147483647 or 1

    def below(self, limit):
        self._state = self._state * 48271 % 2147483647
        return self._state % limit

    def data(self, size):
        return bytes(self.below(256) for _ in range(size))


def where(error):
    """The error with the place it was raised, in one line."""
    if hasattr(sys, "print_exception"):
        import io

        text = io.StringIO()
        sys.print_exception(error, text)
        lines = [line.strip() for line in text.getvalue().split("\n") if line.strip()]
    else:
        import traceback

        lines = [line.strip() for line in "".join(traceback.format_exception(error)).split("\n") if line.strip()]
    places = [line for line in lines if line.startswith("File ")]
    return " | ".join(places[-2:] + lines[-1:])
