"""What a board signs with its own key, byte for byte: the vectors that the host's tests read, too. And that a command
gets its result signed if it wants that, and only then."""

from binascii import hexlify, unhexlify
from hashlib import sha256

import cbor
import scratch
from check import equal, true, vectors
from gate import ondemand, proof
from gate.commands import application_opcodes
from gate.files import SmallFiles
from sim_commands import device, offering

GROUNDS = ("cpython", "unix", "cortex-m3")
SEED = unhexlify(next(entry["seed"] for entry in vectors("proofs")))


class Device:
    def __init__(self, folder, entry):
        self.folder = folder
        self.id = entry["device"]
        self.hardware = unhexlify(entry.get("hardware", ""))
        self.fed = 0

    def feed(self):
        self.fed += 1


def with_key(folder, seed=SEED):
    SmallFiles(folder).write("key", seed)
    return folder


def test_proofs():
    seen = 0
    for entry in vectors("proofs"):
        if "seed" not in entry:
            continue
        board = Device(with_key(scratch.folder(), unhexlify(entry["seed"])), entry)
        nonce = unhexlify(entry["nonce"])
        if entry["kind"] == "birth":
            made = proof.birth(board, nonce)
        else:
            output = entry["output"] and unhexlify(entry["output"])
            made = proof.result(board, nonce, unhexlify(entry["command"]), cbor.loads(unhexlify(entry["end"])), output)
        equal(hexlify(made).decode(), entry["proof"], entry["name"])
        true(board.fed >= 2, "the watchdog is fed before each long step")
        seen += 1
    equal(seen, 6)


def test_a_board_without_a_key_signs_nothing():
    entry = next(vectors("proofs"))
    for seed in (None, b"", bytes(31), bytes(33)):
        folder = scratch.folder()
        if seed is not None:
            with_key(folder, seed)
        equal(proof.birth(Device(folder, entry), bytes(8)), None)


def taking(folder):
    taken = device(SmallFiles(folder + "/state"))
    taken.commands._device.folder = folder
    return taken


def wanting():
    """A command of the device in wire_commands.json that wants its result signed."""
    return next(entry for entry in vectors("wire_commands") if entry.get("name") == "proof")


def set_valve(call, percent):
    call.write("turned\n" * 300)
    return {"percent": percent}


OFFERED = {"valve.set": (set_valve, application_opcodes.OPERATE, 10, False, {"percent": (int, 0, 100)})}


def test_a_result_is_signed_if_the_command_wants_it():
    data = unhexlify(wanting()["data"])
    taken = taking(with_key(scratch.folder()))
    with offering(OFFERED):
        taken.handle(data)
    result = taken.outbox.results()[0]
    equal((result[2], result[3]), (0, {"percent": 7}))
    made = result.pop(7)
    facts = cbor.loads(cbor.loads(made).value[2])
    equal(facts[6], sha256(data).digest())
    equal(facts[7], sha256(cbor.dumps(result)).digest())
    equal(facts[8], sha256(taken.outbox.text().encode()).digest())
    equal(facts[3], taken.device.id)


def test_one_that_does_not_want_it_costs_no_signature():
    data = next(unhexlify(entry["data"]) for entry in vectors("wire_commands") if entry.get("name") == "argument")
    taken = taking(with_key(scratch.folder()))
    with offering(OFFERED):
        taken.handle(data)
    true(7 not in taken.outbox.results()[0])


def test_without_a_key_or_memory_it_is_answered_all_the_same():
    data = unhexlify(wanting()["data"])
    taken = taking(scratch.folder())
    with offering(OFFERED):
        taken.handle(data)
    equal(taken.outbox.results()[0][3], {"percent": 7})
    true(7 not in taken.outbox.results()[0])

    def none_left(*_):
        raise MemoryError

    usual, proof.result = proof.result, none_left
    try:
        with ondemand.modules:
            taken = taking(with_key(scratch.folder()))
            with offering(OFFERED):
                taken.handle(data)
    finally:
        proof.result = usual
    equal(taken.outbox.results()[0][3], {"percent": 7})
    true(7 not in taken.outbox.results()[0])
