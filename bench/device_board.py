# ruff: noqa: PTH123, UP031 - runs on MicroPython
"""The board's half of bench/device.py: measures the device libraries and prints one JSON line."""

import gc
import json
import time
from hashlib import sha256
from io import BytesIO

import bspatch
import cbor
import cose
import ed25519
import sha512

_ROOT = "/bench/data/"
_IMAGE = 36 * 1024


def instructions(function, *arguments):
    """Instructions of one call, with a heap just collected. A first call warms up what is made once."""
    function(*arguments)
    gc.collect()
    start = time.ticks_us()
    function(*arguments)
    # -icount shift=5: an instruction is 32 ns of the board's time. What ticks_us costs is below a microsecond's worth.
    return time.ticks_diff(time.ticks_us(), start) * 1000 // 32


class Peak:
    """The most live heap seen at `sample`, beyond what there was at the start."""

    def __init__(self):
        gc.collect()
        self._base = gc.mem_alloc()
        self.most = 0

    def sample(self):
        gc.collect()
        self.most = max(self.most, gc.mem_alloc() - self._base)


def sampled(module, name, function, *arguments):
    """Peak live heap of a call, looked at whenever it calls module.name."""
    original = getattr(module, name)
    peak = Peak()

    def looked_at(*given):
        peak.sample()
        return original(*given)

    setattr(module, name, looked_at)
    try:
        function(*arguments)
    finally:
        setattr(module, name, original)
    return peak.most


def read(name):
    with open(_ROOT + name, "rb") as file:
        return file.read()


def signatures(results):
    case = cbor.loads(read("signature.cbor"), 4096)
    key, message, signature = case
    pinned = ed25519.pin(key)
    if not ed25519.verify(*case) or not ed25519.verify_pinned(pinned, message, signature):
        raise ValueError("the signature is not taken")
    results["sha512, 1 block"] = instructions(sha512.sha512, bytes(111)), None
    results["sha512, 2 blocks"] = instructions(sha512.sha512, bytes(119)), None
    heap = sampled(ed25519, "add_entry", ed25519.verify, *case)
    results["ed25519.verify, any key, 55 B"] = instructions(ed25519.verify, *case), heap
    heap = sampled(ed25519, "add_entry", ed25519.verify_pinned, pinned, message, signature)
    results["ed25519.verify_pinned, 55 B"] = instructions(ed25519.verify_pinned, pinned, message, signature), heap
    results["ed25519.pin, once a key"] = instructions(ed25519.pin, key), None
    sign1 = read("sign1.cbor")
    results["cose.decode_sign1"] = instructions(cose.decode_sign1, sign1), None


def manifests(results):
    data = read("manifest.cbor")
    results["cbor.loads, manifest of %d B" % len(data)] = instructions(cbor.loads, data), None
    manifest = cbor.loads(data)
    if cbor.dumps(manifest) != data:
        raise ValueError("the manifest is not what it was")
    results["cbor.dumps, the same"] = instructions(cbor.dumps, manifest), None


def patches(results):
    # Called first on a fresh heap: the old image, which stays in flash on a board, has to be in RAM here.
    old = memoryview(bytearray(_IMAGE))
    with open(_ROOT + "old.bin", "rb") as file:
        for at in range(0, len(old), 512):
            file.readinto(old[at : at + 512])
    out = bytearray(bspatch.OUT_SIZE)

    def read_old(offset, view):
        view[:] = old[offset : offset + len(view)]

    def applied(patch, write):
        stream = BytesIO(patch)
        head = bspatch.header(stream)
        bspatch.apply(read_old, len(old), stream, write, head.new_size, out)
        return head

    def heap(patch, digest):
        check = sha256()
        peak = Peak()

        def write(view):
            peak.sample()
            check.update(view)

        applied(patch, write)
        if check.digest() != bytes.fromhex(digest):
            raise ValueError("another image came out")
        return peak.most + len(out)

    for name, digest in json.loads(read("patches.json")):
        patch = read(name)
        most = heap(patch, digest)
        cost = instructions(applied, patch, lambda view: None)
        results["bspatch.apply, %s (%d B)" % (name[:-6], len(patch))] = cost, most


def main(part):
    results = {}
    part(results)
    print("RESULT", json.dumps(results))
