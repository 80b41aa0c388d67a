"""Tables of trusted keys: made once, kept, mended; what they verify is what the key verifies."""

import gc
from binascii import unhexlify

import ed25519
import scratch
from check import equal, ground, true, vectors
from ed25519 import pure
from gate.files import SmallFiles
from gate.trust.key_tables import KeyTables

GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 300


def signatures():
    """(valid, key, message, signature) by honest keys, the vectors' first."""
    for entry in vectors("ed25519", 12):
        if entry["valid"] and "mixed" not in entry["why"]:
            yield [unhexlify(entry[name]) for name in ("key", "message", "signature")]


def pins():
    """(KeyTables, its state, what it was fed)."""
    state = SmallFiles(scratch.folder())
    fed = []
    return KeyTables(state, lambda: fed.append(1)), state, fed


def test_made_once():
    key, message, signature = next(signatures())
    tables, state, fed = pins()
    true(pure.verify_precomputed(tables.table(key), message, signature))
    true(len(fed) >= 8, fed)
    equal(len(state.names()), 1)
    made = len(fed)
    gc.collect()
    table = tables.table(key)
    equal(len(fed), made)
    true(pure.verify_precomputed(table, message, signature))
    true(not pure.verify_precomputed(table, message + b"x", signature))


def test_mended():
    key, message, signature = next(signatures())
    tables, state, fed = pins()
    tables.table(key)
    name = state.names()[0]
    size = state.size(name)
    for at in (100,) if ground == "cortex-m3" else (0, 31, 32, 100, size - 1):
        with open(state.path(name), "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes((byte ^ 1,)))
        gc.collect()
        made = len(fed)
        true(pure.verify_precomputed(tables.table(key), message, signature), at)
        true(len(fed) > made)
    state.write(name, b"cut off")
    gc.collect()
    true(pure.verify_precomputed(tables.table(key), message, signature))
    equal(state.size(name), size)


class Full(SmallFiles):
    def write(self, name, data):
        raise OSError(28)


def test_no_table():
    tables, state, _ = pins()
    equal(tables.table(bytes(32)), None)  # no key
    equal(state.names(), [])
    key, message, signature = next(signatures())
    equal(KeyTables(Full(state.folder), lambda: None).table(key), None)


def test_used_where_there_is_no_machine_code():
    key, message, signature = next(signatures())
    tables, _, fed = pins()
    ed25519.tables = tables.table
    try:
        true(ed25519.verify(key, message, signature))
        true(not ed25519.verify(key, message + b"x", signature))
    finally:
        ed25519.tables = None
    equal(bool(fed), not ed25519.native())
