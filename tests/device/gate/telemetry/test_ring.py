"""The ring on the file system: bounded, in order, whole after every power cut, damage found."""

import os

import scratch
from check import Random, equal, raises, true
from gate.telemetry.ring import OVERHEAD, first, frame
from gate.telemetry.ring_recovery import open_ring
from sim_board import SimBoard
from sim_files import Files

HEAP = "1m"
TIMEOUT_S = 600


def record(number, size=40, kind=0):
    """A framed record that says its number, as the telemetry writes it."""
    buf = bytearray(OVERHEAD + size)
    buf[OVERHEAD:] = (b"%06d" % number + bytes(size))[:size]
    equal(frame(buf, 0, size, kind, number), len(buf))
    equal(first(buf), (size, kind, number))
    return buf


def put(ring, *numbers, size=40):
    batch = b"".join(bytes(record(number, size)) for number in numbers)
    return ring.write(bytearray(batch), len(batch))


def drain(ring, most=10**9):
    """The numbers of the records, each acknowledged."""
    numbers, buf = [], bytearray(1024)
    while len(numbers) < most:
        found = ring.read(buf, 4)
        if found is None:
            break
        number = int(bytes(buf[4:10]))
        equal(found[2], number, "stamp")
        numbers.append(number)
        ring.done()
    return numbers


def names(folder):
    return sorted(name for name in os.listdir(folder) if name.isdigit())


def test_order_over_segments_and_restarts():
    folder = scratch.folder()
    ring = open_ring(folder)
    equal(bool(ring), False)
    equal(ring.read(bytearray(100), 0), None)
    wanted = []
    for start in range(0, 300, 3):
        put(ring, start, start + 1, start + 2)
        wanted += [start, start + 1, start + 2]
        if start == 120:
            ring = open_ring(folder)
            equal(ring.last, 122)
    true(len(names(folder)) > 3, "several segments")
    got = drain(ring, 100)
    ring = open_ring(folder)
    got += drain(ring, 50)
    put(open_ring(folder), 300)
    ring = open_ring(folder)
    equal(got + drain(ring), wanted + [300])
    equal((bool(ring), names(folder), ring.dropped), (False, [], 0))
    put(ring, 301)
    equal(drain(open_ring(folder)), [301])


def test_full_drops_the_oldest_and_counts_them():
    folder = scratch.folder()
    ring = open_ring(folder, 3)
    for number in range(0, 400, 2):
        true(put(ring, number, number + 1))
    equal(len(names(folder)), 3)
    kept = drain(open_ring(folder, 3))
    equal(kept, list(range(400 - len(kept), 400)))
    equal(ring.dropped, 400 - len(kept))
    equal(ring.lost, {0: ring.dropped})
    equal(open_ring(folder, 3).dropped, ring.dropped)


def test_full_keeps_the_oldest_where_that_is_wanted():
    folder = scratch.folder()
    ring = open_ring(folder, 2, newest=True)
    stored = 0
    while put(ring, stored):
        stored += 1
    equal(put(ring, 999), False)
    equal(drain(ring), list(range(stored)))
    true(put(ring, 1000))


def test_records_half_acknowledged_and_dropped():
    ring = open_ring(scratch.folder(), 2)
    put(ring, *range(30))
    equal(drain(ring, 10), list(range(10)))
    for number in range(30, 200):
        put(ring, number)
    kept = drain(ring)
    equal(kept[-1], 199)
    equal(ring.dropped + 10 + len(kept), 200)
    equal(ring.removed, 200)


def test_damage_costs_what_is_damaged():
    folder = scratch.folder()
    ring = open_ring(folder)
    for number in range(0, 300, 10):
        put(ring, *range(number, number + 10))
    whole = names(folder)
    path = folder + "/" + whole[1]
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[1000] ^= 1
    scratch.write(path, data)
    got = drain(open_ring(folder))
    equal(got, sorted(got))
    true(len(got) > 200 and got[0] == 0 and got[-1] == 299, "%d of 300" % len(got))
    damaged = open_ring(folder)
    true(damaged.dropped >= 1)


def test_nonsense_in_the_folder():
    random = Random(3)
    for _ in range(60):
        folder = scratch.folder()
        ring = open_ring(folder)
        put(ring, 1, 2)
        for name in ("a", "b", "0", "1", "7"):
            if random.below(2):
                scratch.write(folder + "/" + name, random.data(random.below(120)))
        ring = open_ring(folder)
        put(ring, 3)
        numbers, buf = [], bytearray(1024)
        for _ in range(20):
            found = ring.read(buf, 0)
            if not found:
                break
            numbers.append(int(bytes(buf[:6])))
            ring.done()
        equal(numbers[-1:], [3])


def test_a_full_file_system_is_an_error_or_costs_the_oldest():
    ring = open_ring(scratch.folder())
    put(ring, 1)
    append = ring._append

    def full(buf, size, fresh):
        if ring._first + 1 >= ring._end:
            raise OSError(28)
        append(buf, size, fresh)

    ring._append = full
    raises(OSError, put, ring, 2)
    equal(drain(ring), [1])
    ring._append = append
    for number in range(200):
        put(ring, number)
    ring._append = full
    true(put(ring, 200), "room made at the oldest's cost")
    ring._append = append
    got = drain(ring)
    equal((got[-1], got), (200, sorted(got)))
    equal(ring.dropped + len(got), 201)


# ---------------------------------------------------------------- power cuts


class Place:
    """A ring on files that tear. Each boot writes some records and acknowledges some, as telemetry does."""

    def __init__(self):
        self.board = SimBoard("")
        self.board.files = self.files = Files(self.board)
        self.folder = self.files.folder + "/ring"
        os.mkdir(self.folder)
        self.wear = None

    def boot(self, run):
        return self.board.boot(lambda board: run())

    def ring(self, most=4, newest=False):
        return open_ring(self.folder, most, newest, self.board.sync)


def cuts(points, newest=False, most=64, total=240):
    """Cuts the power once at each of these operations of a run that stores `total` records and drains them."""
    place = Place()
    start = place.board.snapshot()
    log = place.board.log = []
    story = Story(place, newest, most, total)
    story.run()
    operations = len(log)
    place.board.log = None
    tried = 0
    for point in points(operations):
        place.board.restore(start)
        place.board.cut_at(point)
        tried += 1
        story = Story(place, newest, most, total)
        for _ in range(4):
            if place.boot(story.run) == "ended":
                break
        story.judge("a cut at %d of %d" % (point, operations))
    place.files.close()
    return tried, operations


class Story:
    """What one gateway stores and hears acknowledged, remembered by the world outside it."""

    def __init__(self, place, newest, most, total):
        self.place, self.newest, self.most, self.total = place, newest, most, total
        self.next = 0
        self.stored = []  # numbers whose write has returned: acknowledged to flash
        self.refused = 0
        self.sent = []  # in the order in which they reached the broker
        self.doubled = 0  # sent when the acknowledgement was not on flash yet
        self.dropped = 0

    def run(self):
        buf = bytearray(1024)
        ring = self.place.ring(self.most, self.newest)
        self.dropped = ring.dropped
        while self.next < self.total:
            batch = range(self.next, self.next + 4)
            self.next += 4
            if put(ring, *batch):
                self.stored += batch
            else:
                self.refused += 4
            self.dropped = ring.dropped
            if self.next % 60 == 0:  # the link is there for a moment
                self.send(ring, buf, 25)
        self.send(ring, buf, 10**6)
        self.dropped = ring.dropped

    def send(self, ring, buf, most):
        while most:
            most -= 1
            found = ring.read(buf, 0)
            if not found:
                return
            self.sent.append(int(bytes(buf[:6])))
            ring.done()

    def judge(self, where):
        once = sorted(set(self.sent))
        lost = [number for number in self.stored if number not in once]
        if self.most > 60 and lost:
            raise AssertionError("%s: acknowledged to flash and lost: %s" % (where, lost))
        true(len(lost) <= self.dropped, "%s: %d lost, %d counted" % (where, len(lost), self.dropped))
        # Order kept, and again at most the one that was in flight when the power went.
        repeats = [at for at in range(1, len(self.sent)) if self.sent[at] <= self.sent[at - 1]]
        true(len(repeats) <= 1, "%s: order %s" % (where, self.sent))
        for at in repeats:
            equal(self.sent[at], self.sent[at - 1], where)
        # What was being written when it was cut may be there or not, nothing else is.
        true(set(once) <= set(range(self.next)), where)


def every(operations):
    import check

    sample = {"cpython": 60, "unix": 60, "cortex-m3": 10}[check.ground]
    return range(1, operations + 1, max(1, operations // sample))


def test_power_cuts():
    print("%d of %d operations cut" % cuts(every))


def test_power_cuts_while_full():
    print("%d of %d operations cut" % cuts(every, most=2))


def test_power_cuts_while_full_and_the_oldest_stay():
    print("%d of %d operations cut" % cuts(every, True, most=2))


def test_cut_again_and_again():
    random = Random(11)
    place = Place()
    story = Story(place, False, 64, 400)
    story_cuts = 0
    for _ in range(400):
        place.board.cut_at(1 + random.below(30))
        end = place.boot(story.run)
        story_cuts += end == "cut"
        if end == "ended":
            break
    place.files.close()
    once = set(story.sent)
    equal([number for number in story.stored if number not in once], [])
    repeats = 0
    for at in range(1, len(story.sent)):
        if story.sent[at] <= story.sent[at - 1]:
            equal(story.sent[at], story.sent[at - 1], "order")
            repeats += 1
    true(story_cuts > 10 and repeats <= story_cuts, "%d cuts, %d repeats" % (story_cuts, repeats))
    print("%d cuts, %d sent twice" % (story_cuts, repeats))
