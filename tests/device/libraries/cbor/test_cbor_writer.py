"""Encoding into the caller's buffer: the same bytes as dumps, nothing past the end, nothing from the heap."""

import cbor
from cbor.writer import Writer
from check import Random, equal, ground, raises, true

GROUNDS = ("cpython", "unix", "cortex-m3")

INTEGERS = (0, 23, 24, 255, 256, 65535, 65536, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)


def written(method, *values):
    writer = Writer(bytearray(80))
    getattr(writer, method)(*values)
    return bytes(writer.view())


def test_integers():
    for number in INTEGERS:
        equal(written("int", number), cbor.dumps(number))
        equal(written("int", -1 - number), cbor.dumps(-1 - number))
    for number in (2**64, -(2**64) - 1):
        raises(cbor.CborError, written, "int", number)


def test_strings():
    for text in ("", "Cel", "x" * 23, "x" * 24, "\u00fcber", "\u6c34"):
        equal(written("text", text), cbor.dumps(text))
        equal(written("text", text.encode()), cbor.dumps(text))
        equal(written("text", text, b".mean"), cbor.dumps(text + ".mean"))
        equal(written("bytes", text.encode()), cbor.dumps(text.encode()))
    equal(written("bytes", memoryview(b"abc")[1:]), b"\x42bc")


def test_a_whole_message():
    writer = Writer(bytearray(40), 3, 30)
    writer.tag(18)
    writer.map(2)
    writer.int(1)
    writer.array(3)
    writer.bool(True)
    writer.null()
    writer.float(1.5)
    writer.int(-2)
    writer.raw(cbor.dumps([b"x"]))
    equal(bytes(writer.view()), cbor.dumps(cbor.Tag(18, {1: [True, None, 1.5], -2: [b"x"]})))
    equal(writer.start, 3)
    raises(cbor.CborError, writer.tag, 2)
    raises(cbor.CborError, writer.array, -1)


def test_what_does_not_fit_leaves_all_as_it_was():
    for method, value, size in (("int", 70000, 5), ("text", "abc", 4), ("text", b"abc", 4), ("bytes", b"abc", 4)):
        buf = bytearray(b"\xaa" * 12)
        writer = Writer(buf, 2, 2 + size - 1)
        raises(cbor.CborError, getattr(writer, method), value)
        equal((writer.at, bytes(buf)), (2, b"\xaa" * 12), method)
        writer.begin(buf, 2, 2 + size)
        getattr(writer, method)(value)
        equal(bytes(writer.view()), cbor.dumps(value if method != "text" else "abc"))
        equal(bytes(buf[2 + size :]), b"\xaa" * (10 - size))
    for method in ("bool", "null", "float"):
        writer = Writer(bytearray(0))
        raises(cbor.CborError, getattr(writer, method), *(() if method == "null" else (1.5,)))


def test_ratios():
    equal(written("ratio", 84, 4), b"\x15")
    equal(written("ratio", -84, 4), b"\x34")
    equal(written("ratio", 0, 7), b"\x00")
    for number, divisor, wanted in (
        (43, 2, "f94d60"),  # 21.5, a half
        (-43, 2, "f9cd60"),
        (1, 3, "fa3eaaaaab"),
        (2, 3, "fa3f2aaaab"),
        (2153, 100, "fa41ac3d71"),
        (1, 1 << 24, "f90001"),  # a half's smallest
        (1, 1 << 25, "fa33000000"),
        ((1 << 25) + 1, 2, "fa4b800000"),  # between two singles: to the even one
        ((1 << 25) + 3, 2, "fa4b800001"),
        (1999999999, 2, "fa4e6e6b28"),
        ((1 << 40) * 3 + 1, 2, "fa53c00000"),
        ((1 << 26) - 1, 2, "fa4c000000"),  # rounds up into the next power
    ):
        equal(written("ratio", number, divisor).hex(), wanted, "%d / %d" % (number, divisor))


def test_ratios_are_the_nearest_floats():
    random = Random(9)
    for _ in range(2000 if ground != "cortex-m3" else 100):
        divisor = 2 + random.below(1 << (2 + random.below(25)))
        number = random.below(1 << (1 + random.below(29)))
        if number % divisor == 0:
            continue
        data = written("ratio", number, divisor)
        value = cbor.loads(data)
        # The quotient is nearer to it than to its neighbours: half of the last of 24 bits at most.
        if ground != "cortex-m3":
            true(abs(value * divisor - number) <= number * 2.0**-24 * 1.0000001, "%d / %d" % (number, divisor))
        equal(cbor.dumps(value), data)


def test_no_heap():
    if ground == "cpython":
        return
    import micropython

    writer = Writer(bytearray(200))
    number = 21.53
    name, unit = "temperature", b"Cel"

    def message():
        writer.begin(writer.buf)
        writer.array(1)
        writer.map(3)
        writer.int(0)
        writer.text(name, b".mean")
        writer.int(1)
        writer.text(unit)
        writer.int(-300000)
        writer.float(number)
        writer.ratio(-2153, 100)
        writer.bool(False)
        writer.null()
        writer.bytes(unit)
        writer.tag(18)

    message()  # the letters of a str are made once
    micropython.heap_lock()
    try:
        message()
    finally:
        micropython.heap_unlock()
    true(writer.at > 40)


def test_views_instead_of_copies():
    data = bytearray(cbor.dumps([b"abcdef", {b"key": b"xyz", 1: [[b"deep"]]}]))
    copied = cbor.loads(data)
    equal(copied, [b"abcdef", {b"key": b"xyz", 1: [[b"deep"]]}])
    seen = cbor.loads(data, views=True)
    equal(type(seen[0]), memoryview)
    equal(bytes(seen[0]), b"abcdef")
    equal(sorted(type(key).__name__ for key in seen[1]), ["bytes", "int"])
    equal(bytes(seen[1][b"key"]), b"xyz")
    equal(type(seen[1][1][0][0]), memoryview)
    data[2] = 0x58  # the buffer changes, and so does what looks into it
    equal(bytes(seen[0]), b"Xbcdef")
    equal(bytes(cbor.loads(b"\x41a", views=True)), b"a")
    # At the deepest place that is taken, too.
    equal(type(cbor.loads(b"\x81\x41a", max_depth=1, views=True)[0]), memoryview)
