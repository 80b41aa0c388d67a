"""The names of tidegate/names.py: their bounds, and that docs/wire.cddl says the same."""

from __future__ import annotations

import re

import pytest
from projects import ROOT

from tidegate import names
from tidegate.errors import TidegateError
from tidegate.names import Name

ALL = {key: value for key, value in vars(names).items() if isinstance(value, Name)}
SAMPLES = {
    names.PRODUCT: (("tidegate-gateway", "my_gateway", "a.b", "9"), ("", "_a", ".a", "A", "a b", "a\n")),
    names.VENDOR: (("tidegate.example", "a.b-c.d"), ("", "acme", "a..b", ".a", "A.b", "a.b\n")),
    names.BOARD: (("unix", "qemu_mps2_m4"), ("", "2040", "a-b", "a.b", "Unix", "unix\n")),
    names.VERSION: (("1.4.0", "1.4.0-rc.1+b5", "v2"), ("", ".1", "1 0", "1/0", "1\n")),
    names.CHANNEL: (("stable", "0", "hall-2_b"), ("", "-a", "_a", "a.b", "A", "a\n")),
    names.GROUP: (("default", "hall-2"), ("", "-a", "a b")),
    names.DEVICE_ID: (("gate-7", "-", "00ff"), ("", "Gate", "a_b", "a.b", "gate\n")),
    names.DEVICE_NAME: (("Gate_7", "a.b-c"), ("", "-a", "_a", ".a", "a b", "a\n")),
    names.DEVICE: (("gate-7", "-7", "Gate.7"), ("", "-A", "_a", "a b")),
    names.HOST: (("10.0.2.2", "a_b.example.", "::1", "fe80::1", "h"), ("", "a b", "http://h", "a/b", "a..b", "h/")),
    names.COMPONENT: (("calibration", "a_b-1"), ("", "1a", "A", "a.b", "a\n")),
    names.STREAM: (("env", "Env.1", "_"), ("", "a/b", "a b", "a\n")),
    names.OPCODE: (("log.tail", "fs.hash", "a-b_c"), ("", "1a", "Log", "rm -rf", "a\n")),
    names.DIGEST: (("0" * 64, "f" * 64), ("", "F" * 64, "0" * 63, "0" * 65)),
}


def test_every_name_has_samples() -> None:
    assert set(SAMPLES) == set(ALL.values())


@pytest.mark.parametrize("key", ALL)
def test_samples(key: str) -> None:
    name = ALL[key]
    good, bad = SAMPLES[name]
    for text in good:
        assert name.check(text) == text
    for value in (*bad, None, 7, b"gate-7", [good[0]]):
        with pytest.raises(TidegateError, match=re.escape(f"is not a valid {name.what}. Use {name.rule}")):
            name.check(value)


@pytest.mark.parametrize("key", ALL)
def test_bound(key: str) -> None:
    """`most` is what the pattern says, and the rule for people states it."""
    name = ALL[key]
    longest = {names.VENDOR: "a." + "a" * (name.most - 2), names.HOST: "a." * (name.most // 2)}.get(
        name, "a" * name.most
    )
    assert name.fits(longest) and not name.fits(longest + "a")
    assert str(name.most) in name.rule
    assert re.compile(name.pattern).groups == 0


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("device", names.DEVICE_ID),
        ("opcode", names.OPCODE),
        ("data-name", names.COMPONENT),
        ("board", names.BOARD),
        ("product", names.PRODUCT),
        ("group", names.GROUP),
        ("device-name", names.DEVICE_NAME),
    ],
)
def test_wire_cddl_says_the_same(rule: str, name: Name) -> None:
    text = (ROOT / "docs" / "wire.cddl").read_text()
    (pattern,) = re.findall(rf'^{rule} = tstr \.regexp "([^"]*)"', text, flags=re.M)
    assert pattern == name.pattern


def test_wire_cddl_bounds_versions_alike() -> None:
    text = (ROOT / "docs" / "wire.cddl").read_text()
    assert f"version = tstr .size (1..{names.VERSION.most})\n" in text
    assert f'address = tstr .regexp "p/{names.DIGEST.pattern}"' in text
