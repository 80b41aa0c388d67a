"""Trust stores and their rotations: what the host's vectors say, and every flipped bit."""

from binascii import hexlify, unhexlify

import check
from check import Random, equal, raises, true, vectors
from gate.trust import store as trust_store
from gate.trust import verify_rotation

GROUNDS = ("cpython", "unix", "cortex-m3")
HEAP = "512k"


def feed():
    pass


def test_stores():
    for entry in vectors("trust"):
        data = unhexlify(entry["store"])
        if "reason" in entry:
            raises(ValueError, trust_store.parse, data)
            continue
        store = trust_store.parse(data)
        name = entry["name"]
        equal(store.version, entry["version"], name)
        equal([hexlify(kid).decode() for kid in store.revoked], entry["revoked"], name)
        numbers = {
            "release": trust_store.RELEASE,
            "command": trust_store.COMMAND,
            "root": trust_store.ROOT,
            "diagnose": trust_store.DIAGNOSE,
        }
        for role, number in numbers.items():
            wanted = [[kid, public] for known, kid, public in entry["keys"] if known == role]
            equal(sorted(hexlify(kid).decode() for kid in store.kids(number)), sorted(kid for kid, _ in wanted), name)
            for kid, public in wanted:
                equal(hexlify(store.find(number, unhexlify(kid))).decode(), public, name)
            if wanted:
                equal(store.roles[number][0], entry["thresholds"].get(role, 1), name)
        equal(store.find(trust_store.RELEASE, bytes(8)), None)


def test_every_rotation():
    for entry in vectors("rotations", board=8):
        store = unhexlify(entry["store"])
        for step in entry["updates"]:
            verdict, store = judged(unhexlify(step["update"]), store)
            equal(verdict, step["verdict"], entry["name"])
        equal(trust_store.parse(store).version, entry["end"], entry["name"])


def judged(update, store):
    """(verdict, the store then) of an update to the store, as bytes."""
    try:
        new, data = verify_rotation.verify(update, trust_store.parse(store), feed)
    except trust_store.Untrusted as error:
        true(len(error.detail) > 5, "detail")
        return error.reason, store
    equal(new.version, trust_store.parse(data).version)
    return "accept", data


def test_what_is_too_large_is_not_looked_into():
    store = next(vectors("trust"))["store"]
    equal(judged(bytes(2049), unhexlify(store))[0], "too-large")


def test_every_flipped_bit():
    """All of them on CPython, a few hundred on the unix port, a few on the board."""
    step = next(entry for entry in vectors("rotations") if entry["name"] == "one key, replaced")
    store = unhexlify(step["store"])
    update = unhexlify(step["updates"][0]["update"])
    equal(judged(update, store)[0], "accept")
    random = Random(4)
    total = 8 * len(update)
    some = {"cpython": total, "unix": 400, "cortex-m3": 4}[check.ground]
    for number in range(some):
        bit = number if some == total else random.below(total)
        damaged = bytearray(update)
        damaged[bit // 8] ^= 1 << bit % 8
        true(judged(bytes(damaged), store)[0] != "accept", "bit %d" % bit)
