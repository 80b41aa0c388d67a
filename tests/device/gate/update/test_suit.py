"""Envelopes, good and bad, against what a device must make of them (tests/vectors/wire.json)."""

import check
from check import Random, equal, raises, true
from gate.trust import store as trust_store
from gate.update import failures, suit_envelope
from gate.update.failures import Failure
from gate.update.plan import Plan
from gate.update.suit_processor import Processor

GROUNDS = ("cpython", "unix", "cortex-m3")
HEAP = "512k"


class Target:
    """A device that runs one image; the next slot never holds the right one yet."""

    components = ([b"next"], [b"run"])

    def __init__(self, setup, running):
        self.vendor_id = bytes.fromhex(setup["vendor_id"])
        self.class_id = bytes.fromhex(setup["class_id"])
        self._running = running

    def matches(self, component, digest, size):
        return component == [b"run"] and digest == self._running


def load():
    """(setup, {number: image digest}, trust store)."""
    setup = next(check.vectors("wire"))  # it is the first
    images = {int(number): bytes.fromhex(digest) for number, digest in setup["images"].items()}
    return setup, images, trust_store.parse(bytes.fromhex(setup["trust"]))


def decide(data, store, target):
    """The plan of an envelope, up to its fetch; raises Failure."""
    manifest = suit_envelope.authenticate(data, store, lambda: None)
    return Plan(manifest, target)


def test_every_envelope():
    setup, images, store = load()
    seen = 0
    for entry in check.vectors("wire"):
        if entry["kind"] != "envelope":
            continue
        seen += 1
        data = bytes.fromhex(entry["data"]) + bytes(entry.get("pad", 0))
        target = Target(setup, images[entry["running"]])
        name = entry["name"]
        if "refused" in entry:
            failure = raises(Failure, decide, data, store, target)
            equal(failure.code, entry["refused"], name)
            equal(failure.reason, entry["suit_reason"], name)
            continue
        plan = decide(data, store, target)
        equal(plan.manifest.sequence, entry["sequence"], name)
        equal(plan.digest, bytes.fromhex(entry["image"]), name)
        equal(plan.size, entry["size"], name)
        equal(plan.payload, bytes.fromhex(entry["payload"]), name)
        equal(plan.payload_size, entry["payload_size"], name)
        equal(plan.is_patch, entry["is_patch"], name)
        # The slot does not hold the image, so the check after the fetch must fail.
        equal(raises(Failure, plan.finish).code, failures.IMAGE_DIGEST, name)
    true(seen >= 30, "%d envelopes" % seen)


def test_mutated_envelopes_are_refused_and_nothing_else():
    setup, images, store = load()
    good = next(entry for entry in check.vectors("wire") if entry.get("name") == "third-patch")
    data = bytes.fromhex(good["data"])
    target = Target(setup, images[1])
    random = Random(11)
    for _ in range(20 if check.ground == "cortex-m3" else 400):
        changed = bytearray(data)
        for _ in range(1 + random.below(3)):
            changed[random.below(len(changed))] ^= 1 << random.below(8)
        if changed == data:
            continue
        raises(Failure, decide, bytes(changed), store, target)
        raises(Failure, decide, bytes(changed[: random.below(len(changed))]), store, target)


def test_any_signed_nonsense_is_a_failure():
    """What the right key signed is still only data: whatever the manifest holds, the answer is Failure or a plan."""
    setup, images, _ = load()
    good = next(entry for entry in check.vectors("wire") if entry.get("name") == "third-patch")
    data = bytes.fromhex(good["data"])
    manifest = suit_envelope.decode(suit_envelope.decode(data, "").value[3], "")
    target = Target(setup, images[1])
    random = Random(7)
    plans = 0
    for _ in range(60 if check.ground == "cortex-m3" else 3000):
        sections = [bytearray(manifest[key]) for key in (3, 7, 20)]
        for _ in range(1 + random.below(3)):
            section = sections[random.below(3)]
            section[random.below(len(section))] = random.below(256)
        one = suit_envelope.Manifest(bytes(32), 4, *[bytes(section) for section in sections])
        try:
            processor = Processor(one, target)
            for fetch in processor.install():
                plans += 1
                true(fetch.uri is not None and fetch.size is not None, "a whole fetch")
            processor.validate()
        except Failure:
            pass
    if check.ground != "cortex-m3":
        true(plans > 10, "%d plans" % plans)
