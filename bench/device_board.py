# ruff: noqa: PTH123, UP031 - runs on MicroPython
"""The board's half of bench/device.py: measures the device libraries and prints one JSON line a part."""

import gc
import json
import sys
import time
from hashlib import sha256
from io import BytesIO

import vfs

_ROOT = "/bench/"  # the libraries and this module, executed in place (device.py)
_DATA = "/data/"
_IMAGE = 36 * 1024
_CHUNK = 4096
_OUT = 1024
_LONG = 8_000_000  # instructions a measurement takes at least, by doing it over and over


def instructions(function, *arguments):
    """Instructions of one call, with a heap just collected; the mean of many calls where one is short."""
    function(*arguments)  # what is made once
    gc.collect()
    once = _ticked(function, arguments, 1)
    times = _LONG // max(once, 1) + 1
    if times > 1:
        gc.collect()
        once = _ticked(function, arguments, times) // times
    return once


def _ticked(function, arguments, times):
    began = time.ticks_ms()
    while time.ticks_ms() == began:  # always from the same phase of the timer's interrupt
        pass
    start = time.ticks_us()
    for _ in range(times):
        function(*arguments)
    # -icount shift=5: an instruction is 32 ns of the board's time.
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
    with open(_DATA + name, "rb") as file:
        return file.read()


def old_image():
    """The old image where a board has it: in flash, mapped into memory."""
    rom = memoryview(vfs.rom_ioctl(2, 0))[:_IMAGE]
    if sha256(rom).digest() != read("old.sha256"):
        raise ValueError("the old image is not in its place")
    return rom


def with_native():
    """From here on, native modules are found."""
    sys.path.insert(0, _ROOT + "native")


# ---------------------------------------------------------------- the parts, each on a heap of its own


def signatures(results):
    import cbor
    import sha512
    from ed25519 import pure

    case = cbor.loads(read("signature.cbor"), 4096)
    key, message, signature = case
    pinned = pure.precompute(key)
    if not pure.verify(*case) or not pure.verify_precomputed(pinned, message, signature):
        raise ValueError("the signature is not taken")
    results["SHA-512, a block"] = instructions(sha512.sha512, bytes(111)), None
    heap = sampled(pure, "add_entry", pure.verify, *case)
    results["verify: Python, any key"] = instructions(pure.verify, *case), heap
    heap = sampled(pure, "add_entry", pure.verify_precomputed, pinned, message, signature)
    results["verify: Python, pinned key"] = instructions(pure.verify_precomputed, pinned, message, signature), heap
    results["pin, once a key"] = instructions(pure.precompute, key), None


def own_key(results):
    """What a board does itself to enrol."""
    from ed25519 import pure, sign

    seed, message = bytes(range(32)), bytes(160)
    key = sign.Key(seed)
    if not pure.verify(key.public, message, key.sign(message)):
        raise ValueError("what was signed is not taken")
    heap = sampled(pure, "add_entry", sign.Key, seed)
    results["own key: from its seed"] = instructions(sign.Key, seed), heap
    results["own key: a signature"] = instructions(key.sign, message), None


def native_signatures(results):
    import cbor

    with_native()
    import ed25519

    case = cbor.loads(read("signature.cbor"), 4096)
    if not ed25519.native() or not ed25519.verify(*case):
        raise ValueError("the native module does not take the signature")
    results["verify: native"] = instructions(ed25519.verify, *case), None


def manifests(results):
    import cbor

    data = read("manifest.cbor")
    manifest = cbor.loads(data)
    if cbor.dumps(manifest) != data:
        raise ValueError("the manifest is not what it was")
    results["CBOR: decode a manifest of %d B" % len(data)] = instructions(cbor.loads, data), None
    results["CBOR: encode it"] = instructions(cbor.dumps, manifest), None
    check = Suit()
    manifest = check.authentic()
    results["SUIT: decide, 3 patches and the image"] = instructions(check.plan, manifest), None


class Suit:
    """A signed envelope and the device that judges it."""

    def __init__(self):
        from gate.trust import store
        from gate.update import plan, suit_envelope

        setup = json.loads(read("setup.json"))
        self._envelope = suit_envelope
        self._plan = plan
        self._store = store.parse(bytes.fromhex(setup["trust"]))
        self._data = read("envelope.suit")
        self.components = ([b"next"], [b"run"])
        self.vendor_id = bytes.fromhex(setup["vendor_id"])
        self.class_id = bytes.fromhex(setup["class_id"])
        self._running = bytes.fromhex(setup["running"])

    def matches(self, component, digest, size):
        return component == [b"run"] and digest == self._running

    def authentic(self):
        return self._envelope.authenticate(self._data, self._store, lambda: None)

    def plan(self, manifest):
        if not self._plan.Plan(manifest, self).is_patch:
            raise ValueError("no patch was chosen")


def hash_of(image):
    check = sha256()
    for at in range(0, len(image), _CHUNK):
        check.update(image[at : at + _CHUNK])
    return check.digest()


class Patches:
    """Applies the patches of the bench to the old image."""

    def __init__(self):
        from bspatch import adaptive  # noqa: F401 - loaded before anything is measured

        self._old = old_image()
        self._out = bytearray(_OUT)

    def read_old(self, offset, view):
        view[:] = self._old[offset : offset + len(view)]

    def apply(self, patch, write, decode=None):
        import bspatch

        stream = BytesIO(patch)
        head = bspatch.header(stream)
        if head.codec == bspatch.ADAPTIVE:
            from bspatch import adaptive

            adaptive.apply(self.read_old, _IMAGE, stream, write, head.new_size, decode)
        else:
            bspatch.apply(self.read_old, _IMAGE, stream, write, head.new_size, self._out)

    def measure(self, results, kind, codec, decode=None):
        patch = read("%s.%d.patch" % (kind, codec))
        check = sha256()
        peak = Peak()

        def write(view):
            peak.sample()
            check.update(view)

        self.apply(patch, write, decode)
        if check.digest() != read(kind + ".sha256"):
            raise ValueError("another image came out")
        name = "deflate, %s" % kind if codec == 0 else "adaptive, %s: %s" % (kind, decode.__name__)
        cost = instructions(self.apply, patch, _drop, decode)
        results["apply %s (%d B)" % (name, len(patch))] = cost, peak.most + (_OUT if codec == 0 else 0)


def _drop(view):
    pass


def patches(results):
    work = Patches()
    results["SHA-256 over 36 KiB"] = instructions(hash_of, work._old), None
    for kind in ("small", "large"):
        work.measure(results, kind, 0)


def plain_patches(results):
    _adaptive(results, "bspatch.plain")


def viper_patches(results):
    _adaptive(results, "bspatch.viper")


def native_patches(results):
    with_native()
    _adaptive(results, "_bspatch")


def _adaptive(results, name):
    work = Patches()
    __import__(name)
    decode = sys.modules[name]
    for kind in ("small", "large"):
        work.measure(results, kind, 1, decode)


def update(results):
    """What the processor does for an update of 36 KiB: one check of each image, the manifest, the patch. Without the
    flash's own time, which no emulator has."""
    _update(results, "Python", "bspatch.plain")


def pinned_update(results):
    """As the agent does it without machine code: with the table of the key, made before (gate.trust.key_tables)."""
    import ed25519
    from ed25519 import pure

    made = {}

    def table(key):
        if key not in made:
            made[key] = pure.precompute(key)
        return made[key]

    ed25519.tables = table
    Suit().authentic()
    _update(results, "Python, pinned key", "bspatch.plain")


def native_update(results):
    with_native()
    _update(results, "native", "_bspatch")


def _update(results, how, name):
    work = Patches()
    __import__(name)
    decode = sys.modules[name]
    suit = Suit()
    for kind in ("small", "large"):
        for codec in (0, 1):
            patch = read("%s.%d.patch" % (kind, codec))

            def whole(patch=patch):
                check = sha256()
                hash_of(work._old)
                suit.plan(suit.authentic())
                work.apply(patch, check.update, decode)
                check.digest()

            codec_name = "adaptive" if codec else "deflate"
            results["update, %s, %s: %s" % (kind, codec_name, how)] = instructions(whole), None


def main(part):
    results = {}
    part(results)
    print("RESULT", json.dumps(results))
