"""A board that is to enrol, and what the enrolment tests ask of the host's side."""

import json

import peer_control
from check import equal, network, settings, skip
from gate import console
from gate.enrolment import enrol
from gate.settings.config import Config
from peer_control import HOST
from sim_board import Reset

lines = []  # what the console said


def _say(text, *values):
    lines.append(text % values if values else text)


enrol.console = type("Console", (), {"info": _say, "error": _say, "set_level": console.set_level})


class Stopped(BaseException):
    """The test has seen what it wanted."""


class Boot:
    """What the loader hands over, as far as enrolment needs it."""

    def __init__(self, board):
        self.board = board
        self.watchdog = self
        self.feeds = 0

    def feed(self):
        self.feeds += 1

    def release_attempt(self):
        pass

    def reset(self):
        self.board.reset()


class Board:
    """A board whose files are in a folder."""

    name = "unix"

    def __init__(self, folder):
        self.folder = folder
        self.id = b"\x02unix"

    def unique_id(self):
        return self.id

    def random(self, count):
        import os

        return os.urandom(count)

    def network_up(self):
        pass

    def link(self):
        return True

    def sync(self, folder):
        pass

    def reset(self):
        raise Reset("hard")


def control(line):
    """One order to the host's side of the test; returns its answer."""
    if not HOST:
        skip("needs the peers that conftest.py starts")
    network()
    return peer_control.control(line)


def put(folder, name, data):
    with open(folder + "/" + name, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def get(folder, name):
    try:
        with open(folder + "/" + name, "rb") as file:
            return file.read()
    except OSError:
        return None


def flash(folder, claim):
    """Does with the board what flashing with a claim does."""
    put(folder, "config.json", settings["config"])
    if claim:
        put(folder, "claim", claim)


def start(board, pauses=0):
    """One boot of the board: "enrolled", "on" when it went on without, "waits" when it would pause once more."""
    del lines[:]
    left = [pauses]

    async def sleep_ms(ms):
        if ms < 2000:  # the feeding task
            await _real(ms)
            return
        if not left[0]:
            raise Stopped
        left[0] -= 1

    _real, enrol.sleep_ms = enrol.sleep_ms, sleep_ms
    boot = Boot(board)
    try:
        enrol.Enrolment(boot).run()
    except Reset:
        return "enrolled"
    except Stopped:
        return "waits"
    finally:
        enrol.sleep_ms = _real
        _end_tasks()
    return "on"


def _end_tasks():
    import asyncio

    if hasattr(asyncio, "sleep_ms"):  # MicroPython keeps the tasks of a loop that ended with an error
        asyncio.new_event_loop()


def credentials(folder):
    return json.loads(get(folder, "credentials.json"))


def is_device(board, claim):
    """The board holds what its claim gave it, and the server sees it so; returns its id."""
    own = credentials(board.folder)
    equal(control("state " + claim), "used,%s,1" % own["device"])
    equal(control("login %s %s" % (own["user"], own["password"])), "taken")
    equal(get(board.folder, "claim"), None)
    config = Config(board.folder, "unix")
    equal((config.device, config.user, config.password), (own["device"], own["user"], own["password"]))
    return own["device"]
