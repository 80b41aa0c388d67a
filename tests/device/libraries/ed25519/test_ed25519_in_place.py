"""Verification by code that is executed where the image is mapped: the verdicts of the vectors, and no RAM for it."""

import gc
import sys
from binascii import unhexlify

from check import equal, raises, root, skip, true, vectors

GROUNDS = ("cortex-m3",)
TIMEOUT_S = 600
CODE = 9000  # bytes of it at least
ROOM = 1536  # bytes of RAM that the module may take


def in_place():
    try:
        from ed25519 import in_place
    except ImportError:
        skip("not built: python tools/native.py armv7m")
    return in_place


def entries(most=None):
    for entry in vectors("ed25519", most):
        parts = [unhexlify(entry[name]) for name in ("key", "message", "signature")]
        yield entry["why"], entry["valid"], parts


def test_every_vector():
    verify = in_place().verify
    seen = 0
    for why, valid, parts in entries():
        equal(verify(*parts), valid, why)
        seen += 1
    true(seen >= 130, seen)


def test_bad_arguments():
    verify = in_place().verify
    for key in (b"", bytes(31), bytes(32), bytes(64)):
        for signature in (b"", bytes(63), bytes(64), bytes(65), bytes(1000)):
            equal(verify(key, b"", signature), False)
    raises(TypeError, verify, None, b"", bytes(64))
    raises(TypeError, verify, bytes(32), None, bytes(64))
    raises(TypeError, verify, bytes(32), 7, bytes(64))


def test_it_is_chosen_and_takes_no_ram():
    import ed25519

    equal(ed25519.native(), True)
    equal(ed25519._native.__name__, "ed25519.in_place")
    sys.modules.pop("ed25519.in_place")
    del ed25519.in_place, ed25519._native
    gc.collect()
    before = gc.mem_alloc()
    module = in_place()
    gc.collect()
    true(gc.mem_alloc() - before < ROOM, gc.mem_alloc() - before)
    true(len(module._code) > CODE, len(module._code))
    ed25519._native = module


def test_code_in_ram_and_of_the_other_core():
    # ARMv7-M carries out what is built for ARMv6-M, and what is read into RAM where nothing is mapped.
    module = in_place()
    with open(root() + "/native/armv6m/_ed25519.bin", "rb") as file:
        code = file.read()
    mapped = module._code
    module._code = code
    try:
        for why, valid, parts in entries(35):
            equal(module.verify(*parts), valid, why)
    finally:
        module._code = mapped


def test_code_that_is_not_aligned_is_not_executed():
    module = in_place()
    raises(ImportError, module._aligned, memoryview(bytes(8))[2:])
    equal(len(module._aligned(bytes(8))), 8)
