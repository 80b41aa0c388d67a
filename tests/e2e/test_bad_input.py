"""Offers, payloads and outages that must change nothing on the board, each with its reason at the server.

Somebody with the broker's password, or with the server's disk, but without the release key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Installation, attacker
from shared_board import BOARD, DEVICE

from tidegate import manifest
from tidegate.manifest import Manifest
from tidegate.release import load_release
from tidegate.trust import keys

REPORT_TIMEOUT_S = 60


def good(place: Installation) -> Manifest:
    """What the signed manifest of 1.1.0 says."""
    return load_release(place.release("1.1.0")).manifest(BOARD)


def signed(place: Installation, content: Manifest) -> bytes:
    return manifest.sign(manifest.encode(content), [keys.load(place.key("release"))])


def wrong_key(place: Installation) -> bytes:
    return manifest.sign(manifest.encode(good(place)), [keys.new("release")])


def wrong_board(place: Installation) -> bytes:
    vendor = manifest.vendor_id("tidegate.example")
    return signed(
        place, dataclasses.replace(good(place), class_id=manifest.class_id(vendor, "tidegate-gateway", "unix"))
    )


def older_sequence(place: Installation) -> bytes:
    return signed(place, dataclasses.replace(good(place), sequence=1))


def truncated(place: Installation) -> bytes:
    return signed(place, good(place))[:-40]


def one_bit_flipped(place: Installation) -> bytes:
    data = bytearray(signed(place, good(place)))
    data[-100] ^= 0x04  # in the manifest, after the signature
    return bytes(data)


def signature_flipped(place: Installation) -> bytes:
    data = signed(place, good(place))
    signature = manifest.open_envelope(data).signatures[0].signature
    return data.replace(signature, bytes([signature[0] ^ 1]) + signature[1:])


def too_large(place: Installation) -> bytes:
    return signed(place, good(place)).ljust(2100, b"\0")  # above 2048, below what the MQTT client takes at all


@pytest.mark.parametrize(
    ("make", "code"),  # docs/reports.md
    [
        (wrong_key, 3),
        (wrong_board, 5),
        (older_sequence, 6),
        (truncated, 2),
        (one_bit_flipped, 4),
        (signature_flipped, 4),
        (too_large, 1),
    ],
)
def test_an_offer_that_must_be_refused_is_refused(
    place: Installation, make: Callable[[Installation], bytes], code: int
) -> None:
    before = place.api.device(DEVICE)
    last = place.last_report(DEVICE)
    attacker.publish(place, f"tg/{DEVICE}/down/offer", make(place))
    refused = place.wait_report(DEVICE, "refused", last, REPORT_TIMEOUT_S)
    assert refused["verdict"]["code"] == code and refused["detail"], refused
    after = place.api.device(DEVICE)
    assert (after["digest"], after["nonce"], after["online"]) == (before["digest"], before["nonce"], True)


def test_refused_offers_raise_alarms(place: Installation) -> None:
    """Five at once; what comes after is counted and told later, so that nobody can flood the operator."""
    raised = {alarm["reason"] for alarm in place.api.alarms.listed(50)["alarms"] if alarm["kind"] == "offer-refused"}
    assert raised >= {"unknown-key", "wrong-board", "older", "malformed", "signature"}


def payload_in_store(place: Installation, version: str) -> Path:
    """The stored patch of a release, on the server's disk."""
    name = place.index(version)["patches"][0]["digest"]
    return place.data / "payloads" / name[:2] / name


def flipped(data: bytes) -> bytes:
    return data[:50] + bytes([data[50] ^ 0x10]) + data[51:]


@pytest.mark.parametrize(
    ("damage", "result"),
    [
        (flipped, "integrity-failure"),
        (lambda data: data[:-7], "integrity-failure"),
        (lambda data: b"", "integrity-failure"),
        (lambda data: None, "invalid-uri"),
    ],
    ids=["bit-flipped", "truncated", "empty", "missing"],
)
def test_a_damaged_payload_is_never_used(
    place: Installation, damage: Callable[[bytes], bytes | None], result: str
) -> None:
    """The envelope is genuine; what the server has under the patch's name is not."""
    content = dataclasses.replace(good(place), sequence=2)
    store = payload_in_store(place, "1.1.0")
    patch = (place.release("1.1.0") / "p" / store.name).read_bytes()
    store.parent.mkdir(parents=True, exist_ok=True)
    bad = damage(patch)
    if bad is None:
        store.unlink(missing_ok=True)
    else:
        store.write_bytes(bad)
    before = place.api.device(DEVICE)
    last = place.last_report(DEVICE)
    # What was said of this image today is not said again, and what failed waits: until somebody says to try again.
    place.tidegate("cmd", "send", DEVICE, "update", "retry", "--key", place.key("command"))
    # A version text of its own: a new envelope each time, as a board answers the same one only once.
    attacker.publish(
        place,
        f"tg/{DEVICE}/down/offer",
        signed(place, dataclasses.replace(content, version=f"1.1.0-{len(bad or b'')}")),
    )
    failed = place.wait_report(DEVICE, "failed", last, REPORT_TIMEOUT_S)
    assert failed["lwm2m"]["result"] == result, failed
    store.unlink(missing_ok=True)
    after = place.api.device(DEVICE)
    assert (after["digest"], after["nonce"], after["online"]) == (before["digest"], before["nonce"], True)


def test_a_wrong_token_publishes_nothing(place: Installation, tmp_path: Path) -> None:
    token = tmp_path / "wrong.token"
    token.write_text("tg_" + "A" * 43)
    done = place.run("release", "publish", place.release("1.1.0"), "--yes", "--token-file", token)
    assert done.returncode == 1
    assert "token" in done.stderr
    assert [entry["version"] for entry in place.api.releases()["releases"]] == []


def test_a_server_that_goes_away_during_the_update_only_delays_it(place: Installation) -> None:
    """And after all of the above, the genuine release is taken."""
    board = place.boards[0]
    board.emulator.real_speed = True  # so that the server is gone before the payload has arrived
    board.power_cut()
    board.power_on()
    place.wait_running(DEVICE, "1.0.0", 60)
    place.publish("1.1.0")
    place.stop_server()
    done = place.run("device", "list")
    assert done.returncode == 1 and "cannot be reached" in done.stderr
    place.start_server()
    shown = place.wait_running(DEVICE, "1.1.0", 180)
    assert shown["digest"] == place.index("1.1.0")["image"]["digest"]
