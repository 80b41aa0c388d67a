"""What senml_cbor, cbor and coap are given is judged where it enters: nothing loops, nothing is left half written."""

from array import array

import cbor
import senml_cbor
from cbor.writer import Writer
from check import equal, raises, true
from coap import message
from senml_cbor import reader

GROUNDS = ("cpython", "unix", "cortex-m3")
WORST = (-1, -10, -(1 << 40), 0, 2.5, float("nan"), "10", None, [1], b"1")


def test_a_divisor_is_a_whole_number_above_zero():
    for divisor in WORST:
        if divisor is None:
            continue
        pack = senml_cbor.Pack("urn:dev:org:1:", None, bytearray(128))
        raises(senml_cbor.SenmlError, pack.add, "a", 7, None, None, divisor)
        equal(len(pack), 0)
        pack.add("a", 7, None, None, 2)
        equal(reader.decode(bytes(pack.finish()))[0][1], 3.5)


def test_a_refused_record_leaves_the_pack_as_it_was():
    bad = (
        ("a b", 1, None, None),
        (None, 1, None, None),
        (5, 1, None, None),
        ("a", None, None, None),
        ("a", [1], None, None),
        ("a", 1 << 64, None, None),
        ("a", -(1 << 65), None, None),
        ("a", float("inf"), None, None),
        ("a", float("nan"), None, None),
        ("a", chr(0xD800), None, None),
        ("a", memoryview(array("I", [1 << 20])), None, None),
        ("a", 1, 5, None),
        ("a", 1, ["Cel"], None),
        ("a", 1, chr(0xDFFF), None),
        ("a", 1, None, "now"),
        ("a", 1, None, True),
        ("a", 1, None, float("nan")),
        ("a", b"x" * 200, None, None),
    )
    for name, value, unit, time in bad:
        pack = senml_cbor.Pack("urn:dev:org:1:", None, bytearray(160))
        pack.add("before", 1)
        try:
            pack.add(name, value, unit, time)
            raise AssertionError("taken: %r, %r, %r, %r" % (name, value, unit, time))
        except senml_cbor.SenmlError:
            pass
        pack.add("after", 2)
        records = reader.decode(bytes(pack.finish()))
        equal([record[0][-6:] for record in records], ["before", ":after"], "%r" % (name,))
    for base, time in ((None, None), (b"urn:", None), ("", "x"), ("urn:", float("inf")), ("urn:", "x"), ("a b", None)):
        if base == "" and time == "x":
            continue
        raises(senml_cbor.SenmlError, senml_cbor.Pack, base, time)


def test_a_writer_refuses_and_stays_where_it_was():
    buf = bytearray(64)
    for method, value in (
        ("int", 2.5),
        ("int", "1"),
        ("int", None),
        ("int", 1 << 64),
        ("array", -1),
        ("map", 1.5),
        ("array", "2"),
        ("tag", 2),
        ("bytes", "text"),
        ("bytes", [1, 2]),
        ("bytes", 5),
        ("bytes", memoryview(array("I", [1 << 20]))),
        ("text", 5),
        ("text", ["a"]),
        ("text", chr(0xD800)),
        ("bytes", bytes(70)),
    ):
        writer = Writer(buf)
        writer.int(1)
        raises(cbor.CborError, getattr(writer, method), value)
        equal(writer.at, 1, "%s(%r)" % (method, value))
    for divisor in WORST:
        raises(cbor.CborError, Writer(buf).ratio, 7, divisor)
        raises(cbor.CborError, Writer(buf).ratio, divisor if not isinstance(divisor, int) else 0.5, 7)
    raises(cbor.CborError, Writer(buf).ratio, 1 << 127, 7)
    raises(cbor.CborError, Writer(buf).ratio, 7, 1 << 127)
    writer = Writer(buf)
    writer.ratio(-7, 2)
    equal(cbor.loads(bytes(writer.view())), -3.5)


def test_options_of_a_coap_message():
    buf = bytearray(64)
    for options in (((12, -1),), ((-1, b""),), ((65536, b""),), ((6, -(1 << 40)),), ((8, b"x" * 300),)):
        raises(ValueError, message.encode, buf, 0, 1, 1, b"", options)
    for options in (((12, "text"),), ((12, None),), ((12, 2.5),), (("12", b""),)):
        raises((TypeError, ValueError), message.encode, buf, 0, 1, 1, b"", options)
    true(message.encode(buf, 0, 1, 1, b"", ((12, 0), (60, 300))) > 4)
