"""fuzz_signed.py ROOT GROUND CASES [NATIVE]: what the device makes of changed content that was signed all the same.

CASES is a file of lines, written by tests/fuzz/signed.py: first "setup", the trust store, the trust store with a root
key, then "KIND HEX". Prints for each "taken" with what was understood, or "refused" and why; an exception that is not
the module's own ends the run.
"""

import sys

ROOT, GROUND, CASES = sys.argv[1:4]
for folder in ("/tests/device/support", "/firmware", "/firmware/lib"):
    sys.path.insert(0, ROOT + folder)
if len(sys.argv) > 4:
    sys.path.insert(0, sys.argv[4])

from binascii import hexlify, unhexlify  # noqa: E402

import check  # noqa: E402

check.place(ROOT, GROUND, {})

import fuzz_targets  # noqa: E402
import sim_commands  # noqa: E402
from fake_device import Signed  # noqa: E402
from gate.trust import store as trust_store  # noqa: E402
from gate.trust import verify_rotation  # noqa: E402
from gate.update import suit_envelope  # noqa: E402
from gate.update.failures import Failure  # noqa: E402
from gate.update.plan import Plan  # noqa: E402
from gate.update.suit_processor import Processor  # noqa: E402

VENDOR, CLASS, RUNNING = bytes(16), bytes(range(16)), bytes(range(32))
NAME = b"calibration"


class Device:
    """components: those of an image, or of data."""

    vendor_id, class_id = VENDOR, CLASS

    def __init__(self, *components):
        self.components = components

    def matches(self, component, digest, size):
        return component == [b"run"] and digest == RUNNING


IMAGE = Device([b"next"], [b"run"])
DATA = Device([b"data", NAME])


class Judge:
    def __init__(self, store, rooted):
        self._store = store
        self._rooted = rooted
        self._device = sim_commands.Device(fuzz_targets.Forgets(), Signed("gate-7", store), bytes(8))
        self._outbox = self._device.outbox

    def manifest(self, data):
        try:
            manifest = suit_envelope.authenticate(data, self._store, fuzz_targets.feed)
            plan = Plan(manifest, IMAGE)
            told = (manifest.sequence, hexlify(plan.digest).decode(), plan.size, hexlify(plan.payload).decode())
        except Failure as failure:
            return "refused " + failure.word
        for value in (plan.digest, plan.payload):
            fuzz_targets.need(isinstance(value, bytes) and len(value) == 32, "a digest of another size")
        for value in (plan.size, plan.payload_size, manifest.sequence):
            fuzz_targets.need(isinstance(value, int) and value >= 0 and value is not True, "a number that is none")
        try:
            plan.finish()  # what is not there passes only where the manifest asks for no match at all
        except Failure:
            pass
        return "taken %d %s %d %s" % told

    def data(self, data):
        try:
            manifest = suit_envelope.authenticate(data, self._store, fuzz_targets.feed)
            processor = Processor(manifest, DATA)
            fetch = next(processor.install(), None)
            if fetch is None:
                return "refused nothing"
        except Failure as failure:
            return "refused " + failure.word
        fuzz_targets.need(isinstance(fetch.digest, bytes) and len(fetch.digest) == 32, "a digest of another size")
        try:
            processor.validate()
        except Failure:
            pass
        return "taken %d %s %d" % (manifest.sequence, hexlify(fetch.digest).decode(), fetch.size)

    def update(self, data):
        try:
            new, _ = verify_rotation.verify(data, self._rooted, fuzz_targets.feed)
        except trust_store.Untrusted as error:
            return "refused " + error.reason
        return "taken %d" % new.version

    def command(self, data):
        self._outbox.sent = []
        self._device.commands._counters.clear()
        with sim_commands.offering(sim_commands.OFFERED):
            self._device.handle_at_once(data)
        for topic, message in self._outbox.sent:
            if topic == "alarm":
                fuzz_targets.need(not str(message.get(3)).split(":")[0].endswith("Error"), "a surprise: %r" % message)
                return "refused " + message[2]
        return "taken " + hexlify(self._outbox.sent[0][1][1]).decode()


def main():
    judge_it = None
    with open(CASES) as file:
        for line in file:
            kind, _, text = line.strip().partition(" ")
            if kind == "setup":
                judge_it = Judge(*[trust_store.parse(unhexlify(store)) for store in text.split()])
                continue
            print("VERDICT", getattr(judge_it, kind)(unhexlify(text)))


main()
