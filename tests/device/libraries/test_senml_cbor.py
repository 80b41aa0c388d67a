from binascii import unhexlify

import cbor
import senml_cbor.reader
from check import Random, equal, ground, raises, true

GROUNDS = ("cpython", "unix", "cortex-m3")


def test_a_pack_byte_for_byte():
    pack = senml_cbor.Pack("urn:dev:org:tidegate:gw-1:", 1700000000)
    pack.add("temperature", 23.5, "Cel")
    pack.add("open", False, time=-2)
    pack.add("count", 7, "count", 1)
    pack.add("mode", "on")
    pack.add("raw", b"\x01\x02")
    equal(len(pack), 5)
    equal(
        pack.encode(),
        b"\x85"
        + b"\xa5\x00\x6btemperature\x01\x63Cel\x02\xf9\x4d\xe0"
        + b"\x21\x78\x1aurn:dev:org:tidegate:gw-1:\x22\x1a\x65\x53\xf1\x00"
        + b"\xa3\x00\x64open\x04\xf4\x06\x21"
        + b"\xa4\x00\x65count\x01\x65count\x02\x07\x06\x01"
        + b"\xa2\x00\x64mode\x03\x62on"
        + b"\xa2\x00\x63raw\x08\x42\x01\x02",
    )


def test_there_and_back():
    pack = senml_cbor.Pack("gw:")
    pack.add("a", 1.5, "V", -30)
    pack.add("b", True)
    pack.add("c", "text", time=4)
    pack.add("d", bytearray(b"\x00\xff"))
    records = senml_cbor.reader.decode(pack.encode())
    equal(
        [tuple(record) for record in records],
        [
            ("gw:a", 1.5, "V", -30, None, None),
            ("gw:b", True, None, 0, None, None),
            ("gw:c", "text", None, 4, None, None),
            ("gw:d", b"\x00\xff", None, 0, None, None),
        ],
    )


def test_base_fields_hold_until_changed():
    # RFC 8428 section 4.6, with a record of base fields alone.
    pack = [
        {-1: 10, -2: "dev/", -3: 100, -4: "V", -5: 10, -6: 1000},
        {0: "u", 2: 1},
        {0: "v", 2: 2, 6: -5, 1: "A", 5: 7, 7: 60},
        {-2: "other/", -3: 200, -5: 0},
        {0: "w", 3: "x"},
        {-4: "W", 0: "y", 4: True},
        {0: "z"},
    ]
    records = [tuple(record) for record in senml_cbor.reader.decode(cbor.dumps(pack))]
    equal(
        records,
        [
            ("dev/u", 11, "V", 100, 1000, None),
            ("dev/v", 12, "A", 95, 1007, 60),
            ("other/w", "x", "V", 200, 1000, None),
            ("other/y", True, "W", 200, 1000, None),
            ("other/z", None, "W", 200, 1000, None),
        ],
    )


def test_rfc_examples():
    # RFC 8428 section 6, the pack of figure 1 (its floats and heads as the RFC prints them are not deterministic).
    pack = [{-2: "urn:dev:ow:10e2073a0108006:", -3: 1276020076, -4: "A", -1: 10, 0: "voltage", 1: "V", 2: 120}]
    pack += [{0: "current", 6: time, 2: value} for time, value in ((-5, 2), (-4, 3), (0, 7))]
    records = senml_cbor.reader.decode(cbor.dumps(pack))
    equal(
        [(record.name[27:], record.value, record.unit, record.time) for record in records],
        [
            ("voltage", 120, "V", 1276020076),
            ("current", 2, "A", 1276020071),
            ("current", 3, "A", 1276020072),
            ("current", 7, "A", 1276020076),
        ],
    )


def test_refused_packs():
    for pack in (
        {},
        [],
        0,
        [[]],
        [{}] * 65,
        [{0: "a"}],
        [{0: "a", 2: 1, 3: "b"}],
        [{0: "a", 2: True}],
        [{0: "a", 2: "1"}],
        [{0: "a", 4: 1}],
        [{0: "a", 8: "no bytes"}],
        [{0: 1, 2: 1}],
        [{0: "a", 2: 1, 6: "t"}],
        [{0: "a", 2: 1, -1: 11}],
        [{0: "a", 2: 1, "must_": 0}],
        [{0: "", 2: 1}],
        [{0: "-a", 2: 1}],
        [{0: "a b", 2: 1}],
        [{0: "\u00fc", 2: 1}],
        [{0: "a" * 129, 2: 1}],
    ):
        raises(senml_cbor.SenmlError, senml_cbor.reader.decode, cbor.dumps(pack))
    for data in (b"", b"\x9f\xff", b"\x81\xa2\x00\x61a\x02", unhexlify("81a2006161021800")):
        raises(senml_cbor.SenmlError, senml_cbor.reader.decode, data)


def test_unknown_fields_are_passed_over():
    equal(senml_cbor.reader.decode(cbor.dumps([{0: "a", 2: 1, "note": "x", 99: 0}]))[0].value, 1)


def test_refused_records():
    pack = senml_cbor.Pack("gw:")
    raises(senml_cbor.SenmlError, pack.encode)
    for value in (None, [1], {}, float("nan"), float("inf"), -float("inf")):
        raises(senml_cbor.SenmlError, pack.add, "a", value)
    for name in ("a b", "a" * 126, "\u00e9"):
        raises(senml_cbor.SenmlError, pack.add, name, 1)
    for base in ("", "-x", "a" * 129):
        raises(senml_cbor.SenmlError, senml_cbor.Pack, base)
    for _ in range(senml_cbor.MAX_RECORDS):
        pack.add("a", 1)
    raises(senml_cbor.SenmlError, pack.add, "a", 1)
    equal(len(senml_cbor.reader.decode(pack.encode())), senml_cbor.MAX_RECORDS)


def test_mutations():
    pack = senml_cbor.Pack("urn:dev:org:x:", 1000)
    for number in range(4):
        pack.add("value-%d" % number, number + 0.5, "V", -number)
    data = pack.encode()
    random = Random(5)
    rounds = {"cpython": 10000, "unix": 1000, "cortex-m3": 60}[ground]
    refused = 0
    for _ in range(rounds):
        changed = bytearray(data)
        for _ in range(1 + random.below(2)):
            changed[random.below(len(changed))] = random.below(256)
        try:
            for record in senml_cbor.reader.decode(changed):
                true(0 < len(record.name) <= senml_cbor.MAX_NAME)
        except senml_cbor.SenmlError:
            refused += 1
    true(0 < refused < rounds, refused)
