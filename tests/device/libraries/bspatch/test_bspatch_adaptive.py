"""Codec 1 of patches, by every decoder that this ground has: plain Python, viper and the native module."""

import sys
from binascii import unhexlify
from hashlib import sha256
from io import BytesIO

import bspatch
import check
from bspatch import adaptive, plain
from check import Random, equal, ground, raises, skip, true, vectors
from test_bspatch import Slots

GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 600


def decoders():
    """The modules; plain first."""
    found = [plain]
    if "native" in check.settings:
        sys.path.insert(0, check.settings["native"])
    for name in ("bspatch.viper", "_bspatch"):
        try:
            found.append(adaptive._module(name))
        except (ImportError, SyntaxError, ValueError):
            pass
    return found


def applied(old, stream, new_size, decode):
    """The new image from a body."""
    slots = Slots(old, new_size)
    adaptive.apply(slots.read_old, len(old), stream, slots.write, new_size, decode)
    return slots


def patched(old, patch, decode):
    """The new image; PatchError also where the header's word on the images is wrong, as the agent has it."""
    stream = BytesIO(patch)
    head = bspatch.header(stream)
    equal(head.codec, bspatch.ADAPTIVE)
    if head.old_size != len(old) or head.old_check != sha256(old).digest()[:4]:
        raise bspatch.PatchError("made for another base")
    slots = applied(old, stream, head.new_size, decode)
    if head.new_check != sha256(slots.new).digest()[:4]:
        raise bspatch.PatchError("another image came out")
    true(all(piece == adaptive.OUT_SIZE for piece in slots.pieces[:-1]), slots.pieces)
    return bytes(slots.new)


_base = b""  # of the vectors


def entries():
    """(why, old, patch, size and SHA-256 of the new image, or None where the patch is to be refused)"""
    global _base
    pieces = []
    for entry in vectors("adaptive_patches"):
        if "base" in entry:
            if not _base:
                pieces.append(unhexlify(entry["base"]))
            continue
        _base = _base or b"".join(pieces)
        pieces = ()
        new = (entry["new_size"], unhexlify(entry["new_sha256"])) if "new_sha256" in entry else None
        yield entry["why"], memoryview(_base)[: entry["old_size"]], unhexlify(entry["patch"]), new


def sound():
    for why, old, patch, new in entries():
        if new:
            yield why, old, new, patch


def same(made, new, why):
    equal((len(made), sha256(made).digest()), new, why)


def test_sound_patches():
    seen = 0
    for why, old, new, patch in sound():
        for decode in decoders():
            same(patched(old, patch, decode), new, why)
        seen += 1
    true(seen >= 15, seen)


def test_refused():
    seen = 0
    for why, old, patch, new in entries():
        if new:
            continue
        for decode in decoders():
            error = raises(bspatch.PatchError, patched, old, patch, decode)
            true(len(str(error)) > 10, why)
        seen += 1
    true(seen >= 20, seen)


def test_apply_takes_both_codecs():
    for why, old, new, patch in sound():
        stream = BytesIO(patch)
        head = bspatch.header(stream)
        equal(head.codec, bspatch.ADAPTIVE)
        slots = Slots(old, head.new_size)
        bspatch.apply(slots.read_old, len(old), stream, slots.write, head.new_size, codec=head.codec)
        same(slots.new, new, why)


def test_the_fastest_is_taken():
    wanted = {"cpython": "bspatch.plain", "cortex-m3": "_bspatch"}.get(ground)
    names = [decode.__name__ for decode in decoders()]
    equal(adaptive.decoder().__name__, names[-1] if wanted is None or wanted not in names else wanted)
    # Nothing but the plain one to be had: the way of a Linux gateway without an emitter for its core.
    equal(adaptive.decoder(("no_such_module", "bspatch.plain")), plain)


def test_streams_that_dole_out():
    class Doles:
        """Gives one byte a call, as a stream may."""

        def __init__(self, data):
            self._stream = BytesIO(data)

        def readinto(self, view):
            return self._stream.readinto(view[:1])

    for why, old, new, patch in sound():
        stream = BytesIO(patch)
        bspatch.header(stream)
        for decode in decoders():
            same(applied(old, Doles(stream.read()), new[0], decode).new, new, why)
            stream.seek(0)
            bspatch.header(stream)


def test_every_truncation():
    for why, old, new, patch in sound():
        stream = BytesIO(patch)
        bspatch.header(stream)
        body = stream.read()
        if len(body) > (300 if ground == "cpython" else 40):
            continue
        for decode in decoders():
            for size in range(len(body)):
                # Where what is left is a patch by itself, it is another one.
                made = verdict(old, body[:size], new[0], decode)
                true(isinstance(made, str) or sha256(made).digest() != new[1], (why, size))


def test_mutations():
    # What comes out may be wrong, but all decoders do the same and only within bounds.
    rounds = {"cpython": 300, "unix": 400, "cortex-m3": 2}[ground]
    random = Random(43)
    refused = made = 0
    modules = decoders()
    for why, old, new, patch in sound():
        stream = BytesIO(patch)
        bspatch.header(stream)
        body = stream.read()
        if not body or len(body) > (60 if ground == "cortex-m3" else 400):
            continue
        for _ in range(rounds):
            changed = bytearray(body)
            for _ in range(1 + random.below(3)):
                if random.below(3):
                    changed[random.below(len(changed))] ^= 1 << random.below(8)
                else:
                    changed[random.below(len(changed))] = random.below(256)
            if random.below(8) == 0:
                changed = changed[: random.below(len(changed))]
            if random.below(8) == 0:
                changed += bytes(random.below(256) for _ in range(4))
            seen = [verdict(old, changed, new[0], decode) for decode in modules]
            for other in seen[1:]:
                equal(other, seen[0], why)
            if isinstance(seen[0], str):
                refused += 1
            else:
                made += 1
    true(refused > 100 or ground == "cortex-m3", (refused, made))


def verdict(old, body, new_size, decode):
    try:
        return bytes(applied(old, BytesIO(body), new_size, decode).new)
    except bspatch.PatchError as error:
        return str(error)


def test_errors_of_the_storage_pass():
    def fails(*_):
        raise OSError(5)

    for why, old, new, patch in sound():
        if not new[0] or not len(old):
            continue
        for read_old, write in ((fails, lambda view: None), (lambda offset, view: None, fails)):
            stream = BytesIO(patch)
            bspatch.header(stream)
            if read_old is fails and why.startswith(("literals", "every byte value", "nothing but")):
                continue
            error = raises(OSError, adaptive.apply, read_old, len(old), stream, write, new[0])
            equal(error.args[0], 5)
        return


def test_the_native_module_takes_no_other_buffers():
    native = decoders()[-1]
    if native.__name__ != "_bspatch":
        skip("no native module here")
    from array import array

    model, data = array("H", bytes(1680)), bytearray(256)
    good = array("i", [1 << 24, 0, 0, 256, 0, 9, 0, 4, 0, 0])
    native.step(array("i", good), model, data)
    for place, value in ((0, 0), (0, -1), (2, -1), (3, -1), (3, 257), (7, -1), (7, 5)):
        bad = array("i", good)
        bad[place] = value
        raises(ValueError, native.step, bad, model, data)
        raises(ValueError, native.literal, bad, model, data, bytearray(1))
    raises(ValueError, native.step, array("i", bytes(36)), model, data)
    raises(ValueError, native.step, good, array("H", bytes(1678)), data)
    raises(TypeError, native.step, good, model, None)


def test_heap():
    try:
        import gc

        gc.mem_alloc()
    except AttributeError:
        skip("no heap to measure here")
    peak = [0]
    for why, old, new, patch in sound():
        if new[0] < 1500:
            continue
        for decode in decoders():
            stream = BytesIO(patch)
            bspatch.header(stream)

            def write(view):
                gc.collect()
                peak[0] = max(peak[0], gc.mem_alloc())

            def read_old(offset, view, old=old):
                view[:] = old[offset : offset + len(view)]

            gc.collect()
            before = gc.mem_alloc()
            peak[0] = 0
            adaptive.apply(read_old, len(old), stream, write, new[0], decode)
            # Objects are twice as large on a 64-bit host.
            true(0 < peak[0] - before < (4096 if ground == "cortex-m3" else 5000), (why, peak[0] - before))
