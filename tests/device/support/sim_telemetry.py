"""A telemetry with its world: a link that can be away, a clock that stands still, files that outlive a reset."""

import gc

import cbor
import scratch
from fake_link import Link, QuickBeat, Uptime, run
from gate.files import SmallFiles
from gate.reporting.alarms import Alarms
from gate.reporting.outbox import Outbox
from gate.telemetry.pipeline import Telemetry
from gate.telemetry.ring_recovery import open_ring
from gate.telemetry.streams import Measure, Stream


class Place:
    """A telemetry with its world; `boot` starts it over on the same files."""

    def __init__(self, *streams, newest=False, segments=64, write_s=30, ring=None):
        self.folder = scratch.folder()
        self.streams = streams
        self.options = segments, newest
        self.own_ring = ring
        self.write_s = write_s
        self.now = 0
        self.boot()

    def boot(self, number=1000):
        self.link, self.uptime = Link(), Uptime()
        self.alarms = Alarms(Outbox(self.link, SmallFiles(self.folder + "/state")), self.uptime)
        self.ring = self.own_ring
        if self.ring is None:
            self.ring = open_ring(self.folder + "/ring", *self.options)
        for stream in self.streams:
            stream.due_ms = 0
        self.telemetry = Telemetry(
            "gw-1", self.streams, self.link, self.alarms, self.uptime, self.ring, number, self.write_s
        )
        self.now = self.telemetry._polled

    def sample(self, times=1, step_ms=1000):
        for _ in range(times):
            self.telemetry.poll(self.now)
            self.now += step_ms
            self.uptime.now = (self.now - self.telemetry._polled) // 1000

    def send(self, turns=400):
        self.telemetry.work.set()
        run(self.telemetry.send(QuickBeat("t", 9)), turns=turns)

    def values(self):
        """[(topic, {name: value})] of what arrived."""
        return [
            (topic, {record[0]: record.get(2) for record in cbor.loads(payload)}) for topic, payload in self.link.sent
        ]

    def counted(self):
        counted = []
        for _, payload in self.link.sent:
            gc.collect()  # a board's heap has no room for many decoded packs
            counted += [record[2] for record in cbor.loads(payload) if record[0] == "count"]
        return counted


def counter(start=0):
    values = iter(range(start, 100000))
    return Stream("env", Measure("count", "count", lambda: next(values)), period_ms=1000)
