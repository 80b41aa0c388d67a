from binascii import unhexlify
from hashlib import sha256
from io import BytesIO

import bspatch
from check import Random, equal, ground, raises, true, vectors

GROUNDS = ("cpython", "unix", "cortex-m3")


class Slots:
    """An old image that knows its bounds, and a new one that knows its size."""

    def __init__(self, old, new_size):
        self._old = memoryview(old)
        self._left = new_size
        self.new = bytearray()
        self.pieces = []

    def read_old(self, offset, view):
        end = offset + len(view)
        if offset < 0 or end > len(self._old) or not len(view):
            raise AssertionError("read %d..%d of %d" % (offset, end, len(self._old)))
        view[:] = self._old[offset:end]

    def write(self, view):
        self._left -= len(view)
        if self._left < 0 or not len(view):
            raise AssertionError("wrote past the end")
        self.pieces.append(len(view))
        self.new.extend(view)


def patched(old, patch, new_size, buf=None):
    """(new image, sizes of the pieces written)"""
    stream = BytesIO(patch)
    head = bspatch.header(stream)
    equal((head.codec, head.old_size, head.new_size), (0, len(old), new_size), "header")
    equal(head.old_check, sha256(old).digest()[:4])
    slots = Slots(old, new_size)
    bspatch.apply(slots.read_old, len(old), stream, slots.write, new_size, buf)
    equal(head.new_check, sha256(slots.new).digest()[:4])
    return bytes(slots.new), slots.pieces


def sound():
    for entry in vectors("patches"):
        if "new" in entry:
            yield entry["why"], unhexlify(entry["old"]), unhexlify(entry["new"]), unhexlify(entry["patch"])


def test_sound_patches():
    seen = 0
    for why, old, new, patch in sound():
        got, pieces = patched(old, patch, len(new))
        equal(got, new, why)
        true(all(piece == bspatch.OUT_SIZE for piece in pieces[:-1]), why)
        seen += 1
    true(seen >= 12)


def test_buffers_of_any_size():
    for why, old, new, patch in sound():
        for size in (1, 2, 7, 64, 5000):
            if size < 64 and ground == "cortex-m3" and len(patch) > 100:
                continue
            got, pieces = patched(old, patch, len(new), bytearray(size))
            equal(got, new, why)
            equal(pieces, [size] * (len(new) // size) + ([len(new) % size] if len(new) % size else []), why)


def test_broken_operations():
    seen = 0
    for entry in vectors("patches"):
        if "new" in entry:
            continue
        old = unhexlify(entry["old"])
        error = raises(bspatch.PatchError, patched, old, unhexlify(entry["patch"]), entry["new_size"])
        true(len(str(error)) > 10, entry["why"])
        seen += 1
    true(seen >= 20)


def test_every_truncation():
    for _, old, new, patch in sound():
        if not new or (ground != "cpython" and len(patch) > 200):
            continue
        for size in range(len(patch)):
            raises(bspatch.PatchError, patched, old, patch[:size], len(new))


def test_mutations():
    # Header checks off: the body alone must hold. What comes out may be wrong, but only within bounds.
    rounds = {"cpython": 3000, "unix": 300, "cortex-m3": 12}[ground]
    random = Random(42)
    refused = made = 0
    for why, old, new, patch in sound():
        stream = BytesIO(patch)
        bspatch.header(stream)
        body = stream.read()
        for _ in range(rounds):
            changed = bytearray(body)
            for _ in range(1 + random.below(3)):
                if random.below(4):
                    changed[random.below(len(changed))] ^= 1 << random.below(8)
                else:
                    changed[random.below(len(changed))] = random.below(256)
            slots = Slots(old, len(new))
            try:
                bspatch.apply(slots.read_old, len(old), BytesIO(changed), slots.write, len(new), bytearray(97))
            except bspatch.PatchError:
                refused += 1
                continue
            equal(len(slots.new), len(new), why)
            made += 1
    true(refused > made, (refused, made))


def stored(data):
    """data as a raw deflate stream of one stored block (RFC 1951 section 3.2.4), so that mutations hit operations."""
    size = len(data)
    return b"\x01" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data


def test_mutated_operations():
    old = bytes(range(200))
    # Copy 100 with two changes, insert 3, move on; copy 40 from there, go back; insert 5.
    ops = (
        b"\x64\x03\x28"
        + b"\x0a\x01"
        + b"\x32\xff"
        + b"\x26"
        + b"new"
        + b"\x28\x00\x05\x28"
        + b"\x00\x05\x00"
        + b"fresh"
    )
    new = bytearray(old[:100]) + b"new" + old[120:160] + b"fresh"
    new[10] += 1
    new[61] -= 1
    size = len(new)
    slots = Slots(old, size)
    bspatch.apply(slots.read_old, 200, BytesIO(stored(ops)), slots.write, size)
    equal(slots.new, new)
    random = Random(99)
    rounds = {"cpython": 20000, "unix": 3000, "cortex-m3": 200}[ground]
    refused = 0
    for _ in range(rounds):
        changed = bytearray(ops)
        for _ in range(1 + random.below(2)):
            changed[random.below(len(changed))] = random.below(256)
        if random.below(5) == 0:
            changed = changed[: random.below(len(changed))]
        slots = Slots(old, size)
        try:
            bspatch.apply(slots.read_old, 200, BytesIO(stored(bytes(changed))), slots.write, size, bytearray(16))
            equal(len(slots.new), size)
        except bspatch.PatchError:
            refused += 1
    true(0 < refused < rounds, refused)


def test_headers():
    def refused(data):
        raises(bspatch.PatchError, bspatch.header, BytesIO(data))

    for data in (b"", b"\xd0", b"\xd0\x01", b"\xd0\x01\x02", b"\xd0\x01\x02" + bytes(7)):
        refused(data)
    checks = b"oldcnewc"
    head = bspatch.header(BytesIO(b"\xd0\xac\x02\x03" + checks))
    equal(tuple(head), (0, 300, 298, b"oldc", b"newc"))
    refused(b"\xd2\x01\x02" + checks)  # a codec we have not
    refused(b"\x00\x01\x02" + checks)
    refused(b"\xe0\x01\x02" + checks)
    refused(b"\xd0\x01\x03" + checks)  # 1 - 2
    refused(b"\xd0\x81\x00\x00" + checks)  # not shortest
    refused(b"\xd0\x80\x80\x80\x80\x10\x00" + checks)  # 2**32
    refused(b"\xd0\x81\x80\x80\x08\x00" + checks)  # one more than MAX_IMAGE
    refused(b"\xd0\x80\x80\x80\x08\x02" + checks)
    equal(bspatch.header(BytesIO(b"\xd0\x80\x80\x80\x08\x00" + checks)).new_size, bspatch.MAX_IMAGE)


def test_errors_of_the_storage_pass():
    def fails(*_):
        raise OSError(5)

    why, old, new, patch = next(sound())
    for read_old, write in ((fails, lambda view: None), (lambda offset, view: None, fails)):
        stream = BytesIO(patch)
        bspatch.header(stream)
        equal(raises(OSError, bspatch.apply, read_old, len(old), stream, write, len(new)).args[0], 5)


def test_heap():
    try:
        import gc

        gc.mem_alloc()
    except AttributeError:
        from check import skip

        skip("no heap to measure here")
    peak = [0]
    old = bytes(8192)
    body = stored(b"\x80\x40\x00\x00" + b"\x3f\x01" * 128)
    out = bytearray(bspatch.OUT_SIZE)

    def write(view):
        gc.collect()
        peak[0] = max(peak[0], gc.mem_alloc())

    def read_old(offset, view):
        view[:] = old[offset : offset + len(view)]

    stream = BytesIO(body)
    gc.collect()
    before = gc.mem_alloc()
    bspatch.apply(read_old, 8192, stream, write, 8192, out)
    # The inflater, the operations and the callbacks; the output buffer was there before.
    true(0 < peak[0] - before < 3072, peak[0] - before)
