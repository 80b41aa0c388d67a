"""The native range decoders of the other cores (other_cores.py): the same bytes out, and the same refusals."""

from bspatch import plain
from check import Random, equal, true
from other_cores import CORES, module
from test_bspatch_adaptive import patched, same, sound, verdict

GROUNDS = ("cortex-m3",)
TIMEOUT_S = 600


def test_sound_patches():
    for core in CORES:
        decode = module(core, "_bspatch")
        seen = 0
        for why, old, new, patch in sound():
            same(patched(old, patch, decode), new, why)
            seen += 1
        true(seen >= 15, seen)


def test_mutations():
    random = Random(44)
    for core in CORES:
        decode = module(core, "_bspatch")
        seen = 0
        for why, old, new, patch in sound():
            if not 20 < len(patch) < 60:
                continue
            body = bytearray(patch[14:])
            body[random.below(len(body))] ^= 1 << random.below(8)
            equal(verdict(old, body, new[0], decode), verdict(old, body, new[0], plain), why)
            seen += 1
        true(seen >= 5, seen)
