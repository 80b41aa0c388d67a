"""Manifests, commands, trust stores made by the host (tests/vectors/make_vectors.py): the agent says the same of them.

Not on the emulated board: beside the agent, loaded into RAM for a test, its heap has no room for the vectors.
"""

from binascii import hexlify, unhexlify

import scratch
from check import equal, true, vectors
from fake_device import Signed
from gate import identity
from gate.commands import application_opcodes, executor
from gate.files import SmallFiles
from gate.trust import store as trust_store
from gate.update import failures, install, verified
from sim_commands import Device

HEAP = "512k"


def text(data):
    return str(hexlify(data), "ascii")


class Running:
    """The part of the loader's `boot` that a decision needs."""

    class watchdog:
        @staticmethod
        def feed():
            pass

    class running:
        pass

    def __init__(self, setup):
        self.running.digest = unhexlify(setup["running"]["digest"])
        self.running.size = setup["running"]["size"]
        self.running.sequence = setup["running"]["sequence"]
        self.other_slot_size = setup["slot_size"]
        self.sequence_floor = setup["sequence_floor"]

    def raise_floor(self, sequence):
        pass

    def is_bad(self, digest):
        return False

    def other_digest(self, size):
        return b""  # nothing has been written there


class Reporter:
    def report(self, *_, **__):
        pass


def decide(data, setup):
    """(verdict, plan or Failure) of the real updater."""
    boot = Running(setup)
    vendor = identity.vendor_id(setup["vendor"])
    device = Signed(
        "",
        trust_store.parse(unhexlify(setup["trust"])),
        vendor,
        identity.class_id(vendor, setup["product"], setup["board"]),
    )
    run = install.Install(boot, None, device, Reporter(), None, None, None, None)
    try:
        found = run._decide(data, verified.outcome(data, device))
    except failures.Failure as failure:
        return "refuse", failure
    return ("current", None) if found is None else ("accept", found)


def check_plan(name, found, wanted):
    equal(found.manifest.sequence, wanted["sequence"], name)
    equal(text(found.digest), wanted["digest"], name)
    equal(found.size, wanted["size"], name)
    equal(text(found.payload), wanted["payload"], name)
    equal(found.payload_size, wanted["payload_size"], name)
    equal(found.is_patch, wanted["patch"], name)


def goes_on(found):
    """Runs what follows once the image is there and right, before the updater switches; True if nothing stops it."""
    try:
        found.finish()
    except failures.Failure:
        return False
    return True


def test_manifests():
    setup = None
    for entry in vectors("manifests"):
        setup = setup or entry  # the first
        if entry is setup:
            continue
        name, wanted = entry["name"], entry["device"]
        verdict, found = decide(unhexlify(entry["envelope"]), setup)
        if wanted.get("late"):
            equal(verdict, "accept", name)
            true(not goes_on(found), name)
            continue
        equal(verdict, wanted["verdict"], name)
        if verdict == "accept":
            check_plan(name, found, wanted["expect"])
        elif verdict == "refuse" and "reason" in wanted:
            equal(found.word, wanted["reason"], name)


def test_commands():
    setup = None
    for entry in vectors("commands"):
        setup = setup or entry
        if entry is setup:
            continue
        asked = []

        def function(opcode, asked=asked):
            return lambda call, **arguments: asked.append((opcode, arguments))

        class Every:
            """A catalog of every opcode and argument."""

            @staticmethod
            def find(name, function=function):
                return application_opcodes.Opcode(function(name), application_opcodes.READ, 10, False, {})

        store = trust_store.parse(unhexlify(setup["trust"]))
        nonce = unhexlify(setup["nonce"])
        device = Device(SmallFiles(scratch.folder()), Signed(setup["device"], store), nonce, clock=entry["now"])
        device.commands._counters[unhexlify(setup["last"]["kid"])] = int(setup["last"]["cti"], 16)
        executor.builtin_opcodes, usual = Every, (executor.builtin_opcodes, application_opcodes.check)
        application_opcodes.check = lambda specs, given: given
        try:
            data = unhexlify(entry["command"])
            if entry.get("reason") == "too-large":
                device.commands.push(data)
            else:
                device.handle_at_once(data)
        finally:
            executor.builtin_opcodes, application_opcodes.check = usual
        name = entry["name"]
        reason = entry.get("device_reason") or entry.get("reason")
        equal(device.outbox.reasons(), [reason] if reason else [], name)
        if entry["verdict"] == "accept":
            equal(asked, [(entry["expect"]["opcode"], entry["expect"]["arguments"])], name)
            equal(text(device.outbox.results()[0][1]), entry["expect"]["cti"], name)
        else:
            equal(asked, [], name)


def test_ids():
    for entry in vectors("ids"):
        vendor = identity.vendor_id(entry["vendor"])
        equal(text(vendor), entry["vendor_id"])
        if "class_id" in entry:
            equal(text(identity.class_id(vendor, entry["product"], entry["board"])), entry["class_id"])
