"""Changed input to every decoder and verifier of the device (fuzz_targets.py), some hundreds of each here; `make fuzz`
does hundreds of thousands."""

import sys

import check
from check import true

if "native" in check.settings:
    sys.path.insert(0, check.settings["native"])
import fuzz_targets

HEAP = "4m"
SEED = 1

ROUNDS = {
    "cbor": 1500,
    "cose": 300,
    "envelope": 500,
    "trust-store": 1000,
    "trust-update": 300,
    "command": 300,
    "telemetry": 1000,
    "patch": 400,
}


def fuzz(name):
    taken, refused = fuzz_targets.run(name, ROUNDS[name], SEED)
    true(taken >= 5 and refused > 100, (taken, refused))


def test_cbor():
    fuzz("cbor")


def test_cose():
    fuzz("cose")


def test_envelopes():
    fuzz("envelope")


def test_trust_stores():
    fuzz("trust-store")


def test_trust_updates():
    fuzz("trust-update")


def test_commands():
    fuzz("command")


def test_telemetry():
    fuzz("telemetry")


def test_patches():
    fuzz("patch")
