# ruff: noqa: PTH123 - runs on MicroPython
"""The device's senml at work for test_senml_foreign.py, on any interpreter: `senml_device.py LIB write` prints packs in
hex, `LIB read FILE` the records of the packs in FILE, one in hex a line, as JSON."""

import json
import sys
from binascii import hexlify, unhexlify

sys.path.insert(0, sys.argv[1])
import senml_cbor.reader

RECORDS = (
    ("temperature", 2150, "Cel", None, 100),
    ("count", 7, None, -5, None),
    ("open", True, None, None, None),
    ("mode", "on", None, None, None),
    ("speed", -7, "m/s", -1, 2),
    ("level", 0.5, "/", None, None),
)


def write():
    for base_time in (None, 1700000000):
        for count in (1, 2, len(RECORDS)):
            pack = senml_cbor.Pack("urn:dev:org:example:gw-1:", base_time, bytearray(300))
            for name, value, unit, time, divisor in RECORDS[:count]:
                pack.add(name, value, unit, time, divisor)
            print(hexlify(pack.finish()).decode())


def read(path):
    with open(path) as file:
        for line in file:
            records = senml_cbor.reader.decode(unhexlify(line.strip()))
            print(json.dumps([[record.name, record.value, record.unit, record.time] for record in records]))


if sys.argv[2] == "write":
    write()
else:
    read(sys.argv[3])
