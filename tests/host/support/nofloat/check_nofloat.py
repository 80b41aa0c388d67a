# ruff: noqa: UP031 - runs on MicroPython
"""cbor and senml on a port of MicroPython without floats: `check_nofloat.py LIB`, run by
test_cbor_without_floats.py."""

import sys

sys.path.insert(0, sys.argv[1])
import cbor
import senml_cbor
from cbor.writer import Writer


def equal(got, wanted):
    if got != wanted:
        raise AssertionError("%r is not %r" % (got, wanted))


def refused(function, *args):
    try:
        function(*args)
    except cbor.CborError as error:
        return str(error)
    raise AssertionError("not refused")


try:
    float  # noqa: B018
    print("this port has floats")
    raise SystemExit(2)
except NameError:
    pass

message = {1: [1, -2, 2**40, "\u00fcber", b"abc", None, True], -1: cbor.Tag(60000, {"a": 0})}
equal(cbor.loads(cbor.dumps(message)), message)
equal(
    cbor.dumps(cbor.loads(b"\x83\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x61a\xa0")),
    b"\x83\x1b" + b"\xff" * 8 + b"\x61a\xa0",
)
for data in (b"\xf9\x3c\x00", b"\xfa\x40\x49\x0f\xdb", b"\x81\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a"):
    equal("has not" in refused(cbor.loads, data), True)
refused(cbor.loads, b"\xf9")
refused(cbor.dumps, object())

# Numbers with a fraction go out all the same.
writer = Writer(bytearray(64))
writer.ratio(43, 2)
writer.ratio(-2153, 100)
writer.ratio(1, 3)
writer.ratio(84, 4)
equal(bytes(writer.view()), b"\xf9\x4d\x60\xfa\xc1\xac\x3d\x71\xfa\x3e\xaa\xaa\xab\x15")

pack = senml_cbor.Pack("gw:", None, bytearray(200))
pack.add("temperature", 2150, "Cel", -3, 100)
pack.add("n", 7)
wanted = b"\x82\xa5\x00\x6btemperature\x01\x63Cel\x02\xf9\x4d\x60\x06\x22\x21\x63gw:\xa2\x00\x61n\x02\x07"
equal(pack.encode(), wanted)
print("as it should be")
