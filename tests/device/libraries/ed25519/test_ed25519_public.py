"""Signatures made to tell verifiers apart, by others: Project Wycheproof's file, the cases of "Taming the many EdDSAs",
points of small and of mixed order in every encoding. Both verifiers, each alone."""

import sys
from binascii import unhexlify

import check
from check import equal, ground, made_vectors, skip, true, vectors
from ed25519 import pure

GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 600

# In plain Python a signature that is not refused at once costs the board 42 million instructions.
ON_BOARD = 10


def native():
    if ground == "cpython":
        skip("no machine code from .mpy files here")
    if "native" in check.settings:
        sys.path.insert(0, check.settings["native"])
    try:
        import _ed25519
    except ImportError:
        skip("not built: python tools/native.py")
    return _ed25519.verify


def judge(verify, entries, true_ones, false_ones):
    """Compares every verdict; there must have been so many of each at least."""
    seen = {True: 0, False: 0}
    for entry in entries:
        parts = [unhexlify(entry[name]) for name in ("key", "message", "signature")]
        equal(verify(*parts), entry["valid"], entry["why"])
        seen[entry["valid"]] += 1
    true(seen[True] >= true_ones and seen[False] >= false_ones, seen)


def test_wycheproof_in_python():
    if ground == "cortex-m3":
        judge(pure.verify, made_vectors("wycheproof_ed25519", ON_BOARD), 4, 3)
    else:
        judge(pure.verify, made_vectors("wycheproof_ed25519"), 130, 70)


def test_wycheproof_in_machine_code():
    judge(native(), made_vectors("wycheproof_ed25519"), 130, 70)


def edges():
    """On the board: the published cases, and some of the others."""
    for number, entry in enumerate(vectors("ed25519_edges")):
        if ground != "cortex-m3" or number < 12 or number % 16 == 0:
            yield entry


def test_edges_in_python():
    judge(pure.verify, edges(), 1 if ground == "cortex-m3" else 7, 20)


def test_edges_in_machine_code():
    judge(native(), vectors("ed25519_edges"), 7, 260)
