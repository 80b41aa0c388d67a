"""Who must sign releases and commands, the files that keep the trust store, and the agent's part in its updates."""

from binascii import unhexlify

import cbor
import cose
import scratch
from check import equal, raises, true, vectors
from fake_device import Signed
from gate import ConfigError
from gate.files import SmallFiles
from gate.reporting.alarms import Alarms
from gate.trust import store as trust_store
from gate.trust.rotation import Rotation
from gate.trust.storage import COPY, FILE, Storage
from gate.update import suit_envelope
from gate.update.failures import Failure
from sim_commands import Device, Outbox, Uptime

HEAP = "512k"
NONCE = b"nonce!!!"


def feed():
    pass


def case(name):
    for entry in vectors("rotations"):
        if entry["name"] == name:
            return entry
    raise AssertionError("no vector " + name)


# ---------------------------------------------------------------- who must sign


def test_manifests_against_thresholds():
    for entry in vectors("quorums"):
        if entry["kind"] != "manifest":
            continue
        try:
            suit_envelope.authenticate(unhexlify(entry["message"]), trust_store.parse(unhexlify(entry["store"])), feed)
            verdict = "accept"
        except Failure as failure:
            verdict = failure.word
        equal(verdict, entry["verdict"], entry["name"])


def test_commands_against_thresholds():
    for entry in vectors("quorums"):
        if entry["kind"] != "command":
            continue
        store = trust_store.parse(unhexlify(entry["store"]))
        device = Device(SmallFiles(scratch.folder()), Signed("gate-7", store), NONCE)
        outbox = device.outbox
        for message, verdict in [(entry["message"], entry["verdict"])] + entry["after"]:
            del outbox.sent[:]
            device.handle_at_once(unhexlify(message))
            wanted = [] if verdict == "accept" else [("command-refused", verdict)]
            equal(outbox.alarms(), wanted, entry["name"])
            equal([result[2] for result in outbox.results()], [] if wanted else [0], entry["name"])


# ---------------------------------------------------------------- the files


def stores(name="three versions in order"):
    """The bytes of a sequence's stores, oldest first."""
    entry = case(name)
    updates = [cose.decode_sign(unhexlify(step["update"]), 8) for step in entry["updates"]]
    return [unhexlify(entry["store"])] + [update.payload for update in updates]


def test_the_flashed_store_is_copied():
    folder = scratch.folder()
    one = stores()[0]
    scratch.write(folder + "/" + FILE, one)
    equal(Storage(folder).version, 1)
    equal(read(folder, COPY), one)


def test_the_newer_file_counts_whichever_it_is():
    one, two = stores()[:2]
    for flashed, copy, version in ((one, two, 2), (two, one, 2), (None, two, 2), (two, None, 2), (one, b"\xff", 1),
                                   (b"", two, 2), (one, one, 1)):  # fmt: skip
        folder = scratch.folder()
        for name, data in ((FILE, flashed), (COPY, copy)):
            if data is not None:
                scratch.write(folder + "/" + name, data)
        equal(Storage(folder).version, version)
        equal(read(folder, FILE), read(folder, COPY))
        equal(Storage(folder).version, version)


def test_a_store_flashed_with_the_same_version_counts():
    folder = scratch.folder()
    one = stores()[0]
    other = stores("3 of 5, the same keys")[0]
    equal(trust_store.parse(other).version, trust_store.parse(one).version)
    scratch.write(folder + "/" + FILE, other)
    scratch.write(folder + "/" + COPY, one)
    Storage(folder)
    equal(read(folder, COPY), other)


def test_without_a_usable_store_the_error_is_one_line():
    folder = scratch.folder()
    error = str(raises(ConfigError, Storage, folder))
    true("trust.cbor" in error and "missing" in error and "flash it" in error, error)
    scratch.write(folder + "/" + FILE, b"\xff\n\xff")
    error = str(raises(ConfigError, Storage, folder))
    true("flash it" in error and "\n" not in error, error)


def test_a_store_that_could_accept_no_update():
    folder = scratch.folder()
    value = cbor.loads(stores()[0])
    del value[2][trust_store.RELEASE]
    scratch.write(folder + "/" + FILE, cbor.dumps(value))
    true("no release key" in str(raises(ConfigError, Storage, folder)))


def read(folder, name):
    with open(folder + "/" + name, "rb") as file:
        return file.read()


# ---------------------------------------------------------------- the agent's part


def device(name):
    """(Storage, Rotation, Outbox, list of versions told, updates) of a device at the start of a case."""
    entry = case(name)
    folder = scratch.folder()
    scratch.write(folder + "/" + FILE, unhexlify(entry["store"]))
    keeper, outbox, told = Storage(folder), Outbox(), []
    alarms = Alarms(outbox, Uptime())
    rotation = Rotation(Signed("gate-7", keeper), alarms, told.append)
    return keeper, rotation, outbox, told, [unhexlify(step["update"]) for step in entry["updates"]]


def test_updates_are_taken_in_order_and_kept():
    keeper, rotation, outbox, told, updates = device("two keys for a while, then one")
    for update in updates:
        rotation.handle(update)
        rotation.handle(update)  # as the broker brings it again at each connection
    rotation.handle(updates[0])  # late, and seen before
    equal(told, [2, 3])
    equal(outbox.sent, [])
    equal(Storage(keeper._files.folder).version, 3)


def test_a_refused_update_is_answered_once():
    keeper, rotation, outbox, told, updates = device("a version left out")
    for _ in range(3):
        rotation.handle(updates[0])
    equal(outbox.alarms(), [("trust-refused", "version")])
    equal((keeper.version, told), (1, []))


def test_a_refused_update_may_come_again_later():
    keeper, rotation, outbox, told, updates = device("three versions in the wrong order")
    for update in updates:
        rotation.handle(update)
    equal(keeper.version, 3)
    equal(outbox.alarms(), [("trust-refused", "version")])


def test_an_update_that_cannot_be_kept_is_not_taken():
    keeper, rotation, outbox, told, updates = device("one key, replaced")
    write = keeper._files.write

    def full(name, data):
        raise OSError(28)

    keeper._files.write = full
    rotation.handle(updates[0])
    equal(outbox.alarms(), [("trust-refused", "storage")])
    equal((keeper.version, told), (1, []))
    keeper._files.write = write
    rotation.handle(updates[0])
    equal((keeper.version, told), (2, [2]))
