"""The power is cut at every file operation of an enrolment, and the board is enrolled in the end, exactly once.

On MicroPython the files are on a littlefs that tears; on CPython on a cruder disk (sim_files.py). The server is real.
"""

import os

import check
from check import equal, true
from gate.enrolment import enrol
from sim_board import SimBoard
from sim_enrolment import Boot, control, credentials, flash, get, is_device, put
from sim_files import Files

SERVICES = "enrolment_server.serve"
HEAP = "2m"
MARKS = ("soak",)

_sleep_ms = enrol.sleep_ms


class Board(SimBoard):
    name = "unix"

    def random(self, count):
        return os.urandom(count)

    def unique_id(self):
        return b"\x02cuts"


def board(claim):
    made = Board("", 10, "file")
    made.files = Files(made)
    made.folder = made.files.folder + "/tg"
    os.mkdir(made.folder)
    flash(made.folder, claim)
    return made


def once(made):
    """One boot: enrolment, if the agent would begin one."""

    async def sleep_ms(ms):
        # A file that is closed on the cut's way out may raise an OSError in its place: what would
        # be tried again is over.
        if made.down:
            raise made.down
        await _sleep_ms(ms)

    def run(board):
        enrol.sleep_ms = sleep_ms
        if get(board.folder, "claim"):
            enrol.Enrolment(Boot(board)).run()

    end = made.boot(run)
    if hasattr(enrol.asyncio, "sleep_ms"):
        enrol.asyncio.new_event_loop()
    return end


def until_enrolled(made, what):
    for _ in range(8):
        if get(made.folder, "claim") is None and get(made.folder, "credentials.json"):
            return
        once(made)
    raise AssertionError("not enrolled after %s" % what)


def close(made):
    made.down = None
    made.files.close()


def operations(before=None):
    """The names of the operations of an enrolment."""
    made = board(control("claim"))
    if before:
        before(made)
    made.log = []
    once(made)
    log = made.log
    close(made)
    return log


def cut_everywhere(claims, before=None):
    log = operations(before)
    true(len(log) >= 8, log)
    known = int(control("count"))
    for point in range(1, len(log) + 1):
        claim = claims()
        made = board(claim)
        if before:
            before(made)
        made.cut_at(point)
        equal(once(made), "cut", "at %d (%s)" % (point, log[point - 1]))
        until_enrolled(made, "a cut at %d (%s)" % (point, log[point - 1]))
        made.down = None
        is_device(made, claim)
        close(made)
    equal(int(control("count")), known + len(log))
    print("%d operations cut" % len(log))


def test_every_cut_of_an_enrolment():
    cut_everywhere(lambda: control("claim"))


def test_every_second_cut():
    """The second cut falls into what the board does after the first."""
    log = operations()
    step = 1 if check.full() else 2 if check.ground == "cpython" else 5
    pairs = 0
    for first in range(1, len(log) + 1, step):
        for second in range(1, len(log) + 1, 3 * step):
            claim = control("claim")
            made = board(claim)
            made.cut_at(first)
            once(made)
            if get(made.folder, "claim") is not None:
                made.cut_at(second)
                once(made)
                made.cut_at(None)
            until_enrolled(made, "cuts at %d and %d" % (first, second))
            made.down = None
            is_device(made, claim)
            close(made)
            pairs += 1
    print("%d pairs of cuts" % pairs)


def test_every_cut_of_enrolling_again():
    """The board has credentials: at every moment it has the old ones, or the new."""
    first = control("claim")
    made = board(first)
    once(made)
    made.down = None
    device = is_device(made, first)
    old = credentials(made.folder)
    start = made.snapshot()
    put(made.folder, "claim", control("for " + device))
    made.log = []
    once(made)
    log, made.log = made.log, None
    true(len(log) >= 4, log)
    for point in range(1, len(log) + 1):
        made.down = None
        made.restore(start)
        claim = control("for " + device)
        put(made.folder, "claim", claim)
        made.cut_at(point)
        equal(once(made), "cut", "at %d" % point)
        made.down = None
        found = credentials(made.folder)
        true(found["password"] == old["password"] or found["claim"] == claim[5:21], "at %d" % point)
        until_enrolled(made, "a cut at %d" % point)
        made.down = None
        equal(is_device(made, claim), device)
    close(made)
