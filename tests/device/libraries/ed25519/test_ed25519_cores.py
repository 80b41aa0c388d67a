"""The native verifiers of the other cores (other_cores.py): the verdicts of the vectors."""

import gc
from binascii import unhexlify

from check import equal, true, vectors
from other_cores import CORES, module

GROUNDS = ("cortex-m3",)
TIMEOUT_S = 600


def test_every_vector():
    for core in CORES:
        gc.collect()
        verify = module(core, "_ed25519").verify
        seen = 0
        for entry in vectors("ed25519", 35):
            parts = [unhexlify(entry[name]) for name in ("key", "message", "signature")]
            equal(verify(*parts), entry["valid"], entry["why"])
            seen += 1
        true(seen >= 30, seen)
        del verify
