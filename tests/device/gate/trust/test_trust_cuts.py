"""The power is cut at every operation while trust updates are taken: the store is the old or the new one, never none,
never an older one, and a device that slept through several versions has the newest in the end.
"""

from binascii import unhexlify

import check
from check import equal, true
from sim_gateway import World, envelope  # before anything of gate, for its clock

# isort: split
from gate.reporting import reports
from gate.trust import store
from gate.trust.storage import COPY, FILE
from gate.update import failures

HEAP = "2m"
MARKS = ("soak",)
TIMEOUT_S = 900


class Fleet:
    """A board with the first store of the sequence, and a server that hands it the updates in order."""

    def __init__(self, case="two keys for a while, then one", options=None):
        entry = next(entry for entry in check.vectors("rotations") if entry["name"] == case)
        self.updates = [unhexlify(step["update"]) for step in entry["updates"]]
        self.world = World()
        self.world.setup["trust"] = entry["store"]
        if options:
            self.world.flash(2, envelope("patch"), options)
        else:
            self.world.flash(1)
        self.start = self.world.snapshot()
        self.versions = []

    def boot(self):
        """One boot of the board, half an hour at most; how it ended. The server answers each birth as it does."""
        world = self.world
        world.trust = None

        def heard(topic, message):
            if topic == "birth":
                self.versions.append(message[11])
                if message[11] <= len(self.updates):
                    world.link.deliver(self.updates[message[11] - 1], "trust")
            return False

        world._wanted = heard
        return world.boot(1800 * 1000)

    def version(self):
        """Of the store that counts, as docs/trust.md says: the newer of the two files that can be read."""
        self.world.files.power_on()
        found = 0
        for name in (FILE, COPY):
            try:
                with open(self.world.board.folder + "/" + name, "rb") as file:
                    found = max(found, store.parse(file.read()).version)
            except (OSError, ValueError):
                pass
        return found


def test_both_updates_without_a_cut():
    fleet = Fleet()
    equal(fleet.boot(), "stopped")
    equal(fleet.versions, [1, 2, 3])
    equal(fleet.version(), 3)
    fleet.world.close()


def test_every_cut():
    fleet = Fleet()
    world = fleet.world
    world.board.log = log = []
    fleet.boot()
    total = len(log)
    world.board.log = None
    true(total >= 8, "operations %d" % total)
    halfway = 0
    for point in range(1, total + 1):
        world.restore(fleet.start)
        fleet.versions = []
        world.board.cut_at(point)
        least = 1
        for _ in range(5):
            end = fleet.boot()
            seen = max([least] + fleet.versions)
            version = fleet.version()
            true(version >= seen, "%d after %d, cut at %d of %d (%s)" % (version, seen, point, total, log[point - 1]))
            halfway += version == 2
            least = version
            if end == "stopped":
                break
        equal(least, 3, "cut at %d of %d (%s)" % (point, total, log[point - 1]))
    world.close()
    true(halfway, "no cut between the two updates")
    print("%d operations cut" % total)


def test_every_second_cut_after_every_cut():
    """Two cuts: the second while the board makes the two files alike again."""
    fleet = Fleet()
    world = fleet.world
    world.board.log = log = []
    fleet.boot()
    total = len(log)
    world.board.log = None
    step = 1 if check.full() else 2 if check.ground == "cpython" else 7
    pairs = 0
    for first in range(1, total + 1, step):
        for second in range(1, total + 1, step):
            world.restore(fleet.start)
            fleet.versions = []
            world.board.cut_at(first)
            least = 1
            for number in range(6):
                end = fleet.boot()
                version = fleet.version()
                true(version >= max([least] + fleet.versions), "cuts at %d and %d" % (first, second))
                least = version
                if end == "stopped":
                    break
                if not number:
                    world.board.cut_at(second)
            equal(least, 3, "cuts at %d and %d" % (first, second))
            pairs += 1
    world.close()
    print("%d pairs of cuts" % pairs)


def test_a_damaged_file_costs_nothing():
    for name in (FILE, COPY):
        fleet = Fleet()
        fleet.boot()
        fleet.world.board.down = None
        with open(fleet.world.board.folder + "/" + name, "wb") as file:
            file.write(b"\xff" * 40)
        equal(fleet.version(), 3, name)
        fleet.world.close()


def test_an_offer_whose_key_is_dropped_while_it_is_fetched_is_not_installed():
    fleet = Fleet("the release key of wire.json is dropped")
    world = fleet.world
    world.offer = envelope("image")
    world.on_get = lambda: world.link.deliver(fleet.updates[0], "trust")
    world.run(reports.FAILED, 2)
    equal(world.phases()[-2:], ["applying", "failed"])
    said = [message for topic, message in world.heard if topic == "report"]
    equal(said[-1][4][5], failures.UNKNOWN_KEY)
    equal(world.slots()["trial"], None)
    equal(fleet.version(), 2)
    world.close()


def test_what_a_dropped_key_signed_before_still_boots():
    """A loader that verifies signatures: the running image's key is dropped, and nothing newer is there yet."""
    fleet = Fleet("the release key of wire.json is dropped", '{"verify": "signature"}')
    world = fleet.world
    equal(fleet.boot(), "stopped")
    equal(fleet.version(), 2)
    equal(fleet.boot(), "stopped")
    equal(world.boots[-1], ("A", 2, False))
    equal(fleet.versions, [1, 2, 2])
    world.close()
