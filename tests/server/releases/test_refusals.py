"""What a device would refuse is refused when it is published, with a reason, and nothing is changed."""

from __future__ import annotations

import base64

import pytest
import signed_releases as releases
from server_process import document, eventually

from tidegate import delta


def state(server) -> tuple:
    """All that publishing could change."""
    return (
        server.api("GET", "/releases")["releases"],
        [d["offer"] for d in server.api("GET", "/devices")["devices"]],
        [e for e in server.api("GET", "/audit")["entries"] if e["action"] == "release.publish"],
    )


@pytest.fixture(scope="module")
def server(shared, ring):
    """A server that has release 5 of a product of its own."""
    server = shared
    if not server.api("GET", "/releases", params={"product": "refusals"})["releases"]:
        server.register("gw-refusals", product="refusals")
        server.publish(make(ring.release, "1.0.5", 5))
    eventually(lambda: server.shown("gw-refusals")["offer"]["state"] == "offered")  # the worker's part is done too
    return server


def make(key, version, sequence, **other):
    return releases.make(key, version, sequence, product="refusals", **other)


def refused(server, answer, status: int, kind: str, *words: str) -> dict:
    problem = answer.json()
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"].endswith("/" + kind) and problem["status"] == status and problem["remedy"], problem
    for word in words:
        assert word in problem["detail"], problem
    return problem


def test_the_same_release_again_changes_nothing(server, ring):
    before = state(server)
    again = make(ring.release, "1.0.5", 5)
    answer = server.publish(again)
    assert answer.status_code == 200 and answer.json()["published"] is False and answer.json()["offered"] == 0
    assert state(server) == before


@pytest.mark.parametrize("sequence", [1, 4, 5])
def test_an_older_or_equal_sequence(server, ring, sequence):
    before = state(server)
    answer = server.publish(make(ring.release, "1.0.6", sequence))
    refused(server, answer, 409, "sequence", "5", str(sequence))
    assert "6" in answer.json()["remedy"] and state(server) == before


def test_a_release_signed_by_a_stranger(server, ring):
    before = state(server)
    refused(server, server.publish(make(ring.stranger, "1.1.0", 6)), 422, "unknown-key", "unix", "trust store")
    assert state(server) == before


def test_a_release_signed_by_a_command_key(server, ring):
    from tidegate.trust.keys import Key

    disguised = Key("release", ring.command.public, ring.command.private)
    answer = server.publish(make(disguised, "1.1.0", 6))
    assert answer.status_code == 422 and "command" in answer.json()["detail"], answer.text


def test_every_flipped_byte_of_an_envelope(server, ring):
    """Wherever a bit flips, the release is refused and never stored."""
    before = state(server)
    release = make(ring.release, "1.1.0", 6)
    server.api("PUT", f"/payloads/{releases.digest(release['image'])}", content=release["image"])
    envelope = release["envelopes"]["unix"]
    for at in range(0, len(envelope), 3):
        damaged = bytearray(envelope)
        damaged[at] ^= 1 << at % 8
        release["envelopes"]["unix"] = bytes(damaged)
        answer = server.http.post("/api/v1/releases", json=document(release))
        assert answer.status_code == 422, (at, answer.text)
    for cut in (0, 1, len(envelope) // 2, len(envelope) - 1):
        release["envelopes"]["unix"] = envelope[:cut]
        assert server.http.post("/api/v1/releases", json=document(release)).status_code == 422, cut
    assert state(server) == before


@pytest.mark.parametrize(
    ("inside", "outside", "reason"),
    [
        pytest.param({"board": "qemu_mps2"}, {}, "class", id="another board"),
        pytest.param({"vendor": "evil.example"}, {}, "vendor", id="another vendor"),
        pytest.param({}, {"version": "9.9.9"}, "version", id="another version"),
        pytest.param({}, {"sequence": 7}, "sequence", id="another sequence"),
        pytest.param({}, {"product": "refusals-b"}, "class", id="another product"),
    ],
)
def test_a_manifest_that_was_signed_for_something_else(server, ring, inside, outside, reason):
    before = state(server)
    signed = make(ring.release, "1.1.0", 6, **inside)
    (envelope,) = signed["envelopes"].values()
    signed.update({"vendor": releases.VENDOR, "envelopes": {"unix": envelope}, **outside})
    refused(server, server.publish(signed), 422, reason, "unix")
    assert state(server) == before


def test_a_missing_payload(server, ring):
    before = state(server)
    release = make(ring.release, "1.1.0", 6, content=releases.make_image("1.1.0", 6, product="refusals", size=5000))
    answer = server.http.post("/api/v1/releases", json=document(release))
    name = releases.digest(release["image"])
    assert f"PUT /api/v1/payloads/{name}" in refused(server, answer, 422, "missing-payload", name)["remedy"]
    assert state(server) == before


def test_a_patch_that_gives_another_image(server, ring):
    before = state(server)
    base = releases.make_image("1.0.5", 5, product="refusals")
    other = delta.make(base, releases.make_image("6.6.6", 66, product="refusals"))
    refused(server, server.publish(make(ring.release, "1.1.0", 6, patches={base: other})), 422, "patch", "unix")
    refused(server, server.publish(make(ring.release, "1.1.0", 6, patches={base: b"\xd0" + b"\0" * 40})), 422, "patch")
    bomb = bytearray(delta.make(base, bytes(1 << 16)))
    refused(server, server.publish(make(ring.release, "1.1.0", 6, patches={base: bytes(bomb)})), 422, "patch", "sizes")
    assert state(server) == before


def test_an_image_that_is_none_or_is_another_one(server, ring):
    before = state(server)
    refused(server, server.publish(make(ring.release, "1.1.0", 6, content=b"not a file system" * 50)), 422, "image")
    wrong = releases.make_image("1.1.0", 6, board="qemu_mps2", product="refusals")
    refused(server, server.publish(make(ring.release, "1.1.0", 6, content=wrong)), 422, "image", "qemu_mps2")
    assert state(server) == before


def test_a_patch_whose_base_is_not_here_is_taken_with_a_warning(shared, ring):
    base = releases.make_image("0.9.0", 1, product="warned")
    release = releases.make(ring.release, "1.0.0", 2, product="warned", bases=(base,))
    answer = shared.publish(release)
    assert answer.status_code == 201 and releases.digest(base) in answer.json()["warnings"][0]
    assert answer.json()["targets"]["unix"]["patches"][0]["checked"] is False


def test_a_board_added_to_the_newest_release(shared, ring):
    first = releases.make(ring.release, "1.0.0", 1, product="two-boards")
    second = releases.make(ring.release, "1.0.0", 1, product="two-boards", board="qemu_mps2")
    assert shared.publish(first).status_code == 201
    assert shared.publish(second).status_code == 201
    (release,) = shared.api("GET", "/releases", params={"product": "two-boards"})["releases"]
    assert sorted(release["targets"]) == ["qemu_mps2", "unix"]
    assert shared.publish(second).status_code == 200


GOOD = {"product": "p", "vendor": "v.example", "version": "1", "sequence": 1, "targets": {"unix": {"envelope": "AA=="}}}


@pytest.mark.parametrize(
    "change",
    [
        *({"product": value} for value in (1, "", "A", "../x", "x" * 65, None)),
        *({"vendor": value} for value in ("", "no spaces allowed", "plain", [])),
        *({"version": value} for value in ("", "x" * 33, "1 2", 1)),
        *({"sequence": value} for value in (0, -1, True, 1.5, "1", 2**32, 10**40)),
        *(
            {"targets": value}
            for value in ({}, [], {"../x": {"envelope": "AA=="}}, {"unix": {}}, {"unix": {"envelope": 1}})
        ),
        {"targets": {"unix": {"envelope": "not base64!"}}},
        {"targets": {"unix": {"envelope": "A" * 5000}}},
        {"extra": 1},
    ],
    ids=lambda change: str(change)[:40],
)
def test_documents_that_are_no_release(server, change):
    answer = server.http.post("/api/v1/releases", json={**GOOD, **change})
    assert answer.status_code in (400, 413, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]


def test_bodies_that_are_no_json(server):
    for body, status in ((b"", 400), (b"{", 400), (b"[1]", 400), (b"\xff\xfe", 400), (b"[" * 100_000, 400)):
        answer = server.http.post("/api/v1/releases", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, (body[:20], answer.text)
    assert server.http.post("/api/v1/releases", content=b"a=1").status_code == 415
    huge = b'{"a":"' + b"x" * (2 << 20) + b'"}'
    answer = server.http.post("/api/v1/releases", content=huge, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and answer.json()["remedy"]


def test_text_that_cannot_be_stored(server):
    half = '{"seen": null, "groups": {}, "devices": {"\\ud800": "default"}}'
    answer = server.http.post("/api/v1/groups", content=half, headers={"Content-Type": "application/json"})
    refused(server, answer, 400, "invalid-text")


def test_a_server_without_a_trust_store_takes_no_release(start, ring):
    server = start(trusting=False)
    release = releases.make(ring.release, "1.0.0", 1)
    answer = server.publish(release)
    assert answer.status_code == 503 and "--trust" in answer.json()["remedy"]
    assert base64.b64encode(release["envelopes"]["unix"]).decode() not in answer.text
