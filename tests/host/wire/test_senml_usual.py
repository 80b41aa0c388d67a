"""The short way to read a pack: it takes what agents send, and never reads a byte otherwise than the general way."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tidegate.errors import Refused
from tidegate.wire import senml, senml_usual
from tidegate.wire.cbor import dumps

NOW = 1_790_000_000.25
VECTORS = json.loads((Path(__file__).resolve().parents[2] / "vectors/senml.json").read_text())
AGENTS = [
    [{-2: "urn:dev:org:tidegate:gw-1:", 0: "air", 1: "Cel", 2: 21.53, -257: 7}, {0: "supply", 1: "V", 2: 3.3}],
    [{-3: -90, -2: "urn:dev:org:tidegate:gw-1:", 0: "a", 2: 1.5, -258: 70_000, -257: 1 << 29}, {0: "b", 2: -7}],
    [{-3: 1_790_000_000, -2: "urn:dev:org:tidegate:gw-1:", 0: "a", 2: -300, 6: 1}, {0: "b", 2: 1 << 31, 6: -2.5}],
    [{-4: "Cel", -2: "urn:dev:org:tidegate:gw-1:", -257: 3}, {0: "a", 3: "open" * 8}, {0: "b", 4: True}],
    [{0: "urn:dev:org:tidegate:" + "g" * 40 + ":a", 1: "", 2: 1e-3}],
]


def short(data: bytes) -> tuple | None:
    return senml_usual.read(data, NOW, senml.RELATIVE, senml._is_name)


def agree(data: bytes) -> bool:
    """Whether the short way reads these bytes, as the general way does."""
    found = short(data)
    if found is None:
        return False
    assert repr(found) == repr(tuple(senml.read_generally(data, NOW))), data.hex()
    return True


@pytest.mark.parametrize("pack", AGENTS)
def test_what_agents_send_is_read_the_short_way(pack: list) -> None:
    assert agree(dumps(pack))


def test_vectors_are_read_alike() -> None:
    packs = [bytes.fromhex(value) for entry in VECTORS for value in entry.values() if _is_hex(value)]
    assert len(packs) >= 10
    read = [_agree_or_refused(data) for data in packs]
    assert any(read)


def _is_hex(value: object) -> bool:
    return isinstance(value, str) and len(value) > 8 and set(value) <= set("0123456789abcdef") and len(value) % 2 == 0


def _agree_or_refused(data: bytes) -> bool:
    try:
        senml.read_generally(data, NOW)
    except Refused:
        assert short(data) is None, data.hex()
        return False
    return agree(data)


@pytest.mark.parametrize(
    "bad",
    [
        "81a200616102" + "fb3ff8000000000000",  # 1.5 in eight bytes
        "81a200616102" + "fa3fc00000",  # and in four
        "81a200616102" + "1801",  # one in two bytes
        "81a202016061" + "61",  # labels the wrong way round
        "81a300616100616102f93c00",  # a label twice
        "81a300616102013901000139",  # cut off
        "81a20061610201" + "00",  # a byte too many
        "81a2006161" + "02fb7ff8000000000001",  # not a number, in another spelling
        "81a200780161" + "0201",  # a length of two bytes where one would do
        "81a200612b0201",  # a name that SenML does not allow
    ],
)
def test_what_is_wrong_is_left_to_the_general_way(bad: str) -> None:
    assert short(bytes.fromhex(bad)) is None
    with pytest.raises(Refused):
        senml.read(bytes.fromhex(bad), NOW)


def test_changed_packs_are_read_alike() -> None:
    """Bytes replaced, removed, put in and doubled in packs of agents: 20,000 of them."""
    chance, taken = random.Random(7), 0
    seeds = [dumps(pack) for pack in AGENTS]
    for number in range(20_000):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data))
            way = chance.randrange(4)
            if way == 0:
                data[at] = chance.randrange(256)
            elif way == 1:
                del data[at : at + chance.randint(1, 3)]
            elif way == 2:
                data[at:at] = bytes([chance.choice((0x18, 0x39, 0xF9, 0xFB, 0xA1, 0x60, chance.randrange(256)))])
            else:
                data[at:at] = data[at : at + chance.randint(1, 6)]
            if not data:
                break
        taken += _agree_or_refused(bytes(data))
    assert taken > 500
