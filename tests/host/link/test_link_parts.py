"""What may be reached through `tidegate link`, frames among what a board prints, and its words on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import TidegateError
from tidegate.link import addresses
from tidegate.link.frames import MOST, Frame, Kind, Splitter, unpack

FRAMES = st.builds(
    Frame,
    st.sampled_from(list(Kind)),
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=MOST),
)


@given(st.lists(st.one_of(FRAMES, st.text("abc >:", min_size=1)), max_size=8), st.integers(1, 400))
def test_frames_and_lines_are_told_apart_however_they_arrive(said: list[Frame | str], piece: int) -> None:
    data = b"".join(one.pack() if isinstance(one, Frame) else one.encode() + b"\r\n" for one in said)
    splitter = Splitter()
    found = [one for at in range(0, len(data), piece) for one in splitter.feed(data[at : at + piece])]
    assert found == said


@given(FRAMES, st.data())
def test_a_frame_with_a_byte_more_or_less_or_another_is_none(frame: Frame, data: st.DataObject) -> None:
    text = frame.pack()[1:-1]
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[at]))
    for spoiled in (text[:at] + text[at + 1 :], text[:at] + bytes((other,)) + text[at + 1 :]):
        assert unpack(spoiled) != frame
    assert unpack(text) == frame


def test_a_frame_behind_half_a_line_is_a_frame_and_the_half_is_text() -> None:
    frame = Frame(Kind.HELLO, 0, 0, 1, b"boot")
    splitter = Splitter()
    assert splitter.feed(b"temperature 21" + frame.pack() + b"\x1eno frame\n") == ["temperature 21", frame, "no frame"]
    assert splitter.feed(b"x" * 5000) == ["x" * 5000]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("broker.example:1883", ("broker.example", 1883)),
        ("[2001:db8::7]:8883", ("2001:db8::7", 8883)),
        ("10.0.0.7:1", ("10.0.0.7", 1)),
        ("broker.example", None),
        ("broker.example:", None),
        ("broker.example:0", None),
        ("broker.example:65536", None),
        ("bro ker:1883", None),
        (":1883", None),
        ("http://broker.example:1883", None),
        ("broker.example:१", None),
    ],
)
def test_an_address_of_to(text: str, place: tuple[str, int] | None) -> None:
    if place:
        assert addresses.address(text) == place
    else:
        with pytest.raises(TidegateError, match="is not an address"):
            addresses.address(text)


def test_a_server_brings_its_broker() -> None:
    found = addresses.Allowed(addresses.of_server("https://Server.example"))
    assert all(found.allows("server.EXAMPLE", port) for port in (443, 1883, 8883))
    assert not found.allows("server.example", 22) and not found.allows("other.example", 443)
    for url in ("server.example", "ftp://server.example", "http://", "http://server.example:99999"):
        with pytest.raises(TidegateError, match="is not a server's address"):
            addresses.of_server(url)


def test_a_boards_settings_say_what_it_reaches(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    config = {"uplink": "usb", "mqtt": {"host": "b.example", "tls": True}, "payloads": "https://p.example/x/"}
    path.write_text(json.dumps({**config, "enrol": "http://e.example:8080/"}))
    assert addresses.of_config(path) == [("b.example", 8883), ("p.example", 443), ("e.example", 8080)]
    for wrong, why in (
        ({**config, "uplink": "mqtt"}, "not usb"),
        ({**config, "payloads": "coap://p.example/"}, "payloads must start with"),
        ({**config, "mqtt": {"host": "b example"}}, "mqtt.host"),
        ([], "cannot be read"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(TidegateError, match=why):
            addresses.of_config(path)


def test_wrong_words(cli: Callable[..., Result]) -> None:
    for words, why in (
        ((), "give ports, or --all"),
        (("--all", "a0"), "give ports, or --all"),
        (("a0",), "say what boards may reach"),
        (("a0", "/dev/ttyACM0", "--to", "b:1"), "are one port"),
        (("a0", "--to", "b"), "is not an address"),
        (("a0", "--config", "missing.json"), "missing.json"),
    ):
        done = cli("link", *words)
        assert done.exit_code in (1, 2) and why in done.output, done.output
