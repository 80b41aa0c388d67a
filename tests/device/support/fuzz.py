"""fuzz.py ROOT GROUND TARGET COUNT SEED FIRST [NATIVE]: one run of fuzz_targets.py, its figures as a line."""

import sys

ROOT, GROUND, NAME, COUNT, SEED, FIRST = sys.argv[1:7]
for folder in ("/tests/device/support", "/firmware", "/firmware/lib"):
    sys.path.insert(0, ROOT + folder)
if len(sys.argv) > 7:
    sys.path.insert(0, sys.argv[7])

import check  # noqa: E402

check.place(ROOT, GROUND, {})

import fuzz_targets  # noqa: E402

taken, refused = fuzz_targets.run(NAME, int(COUNT), int(SEED), int(FIRST))
print("FUZZED", NAME, taken, refused)
