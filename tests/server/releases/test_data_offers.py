"""Data components through the server: published, offered beside the image, reported, shown, and refused."""

from __future__ import annotations

import base64
import hashlib

import pytest
import signed_releases as releases
from server_process import eventually

TABLE, NEXT = b'{"gain": 1.0}', b'{"gain": 1.1}'


def put(server, content: bytes) -> None:
    name = hashlib.sha256(content).hexdigest()
    assert server.http.put(f"/api/v1/payloads/{name}", content=content).status_code in (200, 201)


def publish(server, document):
    return server.http.post("/api/v1/data", json=document)


def envelope(document) -> bytes:
    return base64.b64decode(document["targets"]["unix"]["envelope"])


def test_data_is_offered_beside_the_image_and_shown(start, ring):
    server = start()
    device = server.device("gw-data")
    device.born("1.0.0", 1, _12={})
    eventually(lambda: server.shown("gw-data")["version"])  # a birth filed after the release would have it sent again
    image = releases.make(ring.release, "1.1.0", 2)
    assert server.publish(image).status_code == 201
    put(server, TABLE)
    first = releases.make_data(ring.release, TABLE, 2)
    answer = publish(server, first)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["offered"], answer.json()["published"]) == (1, True)
    assert publish(server, first).status_code == 200, "the same again is harmless"
    assert device.wait_heard("offer/calibration") == [envelope(first)]
    assert device.wait_heard("offer") == [image["envelopes"]["unix"]], "neither displaces the other"

    device.report(6, 2, 0, 1, component="calibration")
    device.born("1.0.0", 1, _12={"calibration": [2, hashlib.sha256(TABLE).digest()]})
    shown = eventually(lambda: (d := server.shown("gw-data")["data"]["calibration"])["sequence"] == 2 and d)
    assert shown["offer"] == {"version": "2.0", "sequence": 2, "state": "running"}
    assert shown["update"]["phase"] == "confirmed"
    device_shown = server.shown("gw-data")
    assert device_shown["update"] is None and device_shown["offer"]["state"] in ("waiting", "offered"), (
        "the image's story is its own"
    )
    assert server.api("GET", "/status")["devices"][0]["data"]["calibration"]["sequence"] == 2
    assert [row["sequence"] for row in server.api("GET", "/data")["data"]] == [2]

    # A refusal by the application ends the offer; a device registered later hears it with its birth.
    put(server, NEXT)
    second = releases.make_data(ring.release, NEXT, 3)
    assert publish(server, second).status_code == 201
    device.wait_heard("offer/calibration", count=2)
    device.report(7, 3, 0, 8, {5: 19, 7: 11}, component="calibration")
    eventually(lambda: server.shown("gw-data")["data"]["calibration"]["offer"]["state"] == "failed")
    late = server.device("gw-late")
    late.born("1.0.0", 1, _12={})
    assert late.wait_heard("offer/calibration") == [envelope(second)]


@pytest.mark.parametrize("sequence", [1, 2])
def test_an_older_or_equal_number(start, ring, sequence):
    server = start()
    for content in (TABLE, NEXT):
        put(server, content)
    assert publish(server, releases.make_data(ring.release, TABLE, 2)).status_code == 201
    answer = publish(server, releases.make_data(ring.release, NEXT, sequence))
    assert answer.status_code == 409 and "3" in answer.json()["remedy"]
    other = releases.make_data(ring.release, NEXT, sequence, name="model")
    assert publish(server, other).status_code == 201, "each component has its own numbers"


def test_what_a_device_would_refuse(start, ring):
    server = start()
    put(server, TABLE)
    good = releases.make_data(ring.release, TABLE, 2)
    assert publish(server, releases.make_data(ring.stranger, TABLE, 2)).status_code == 422
    assert publish(server, releases.make_data(ring.release, NEXT, 2)).status_code == 422, "the file is not here"
    for change in (
        {"name": "model"},
        {"sequence": 3},
        {"version": "9"},
        {"product": "other"},
        {"vendor": "elsewhere.example"},
        {"targets": {"qemu_mps2": good["targets"]["unix"]}},
    ):
        answer = publish(server, {**good, **change})
        assert answer.status_code == 422, change
    for wrong in ({}, [], {**good, "more": 1}, {**good, "name": "../x"}, {**good, "targets": {}}):
        assert publish(server, wrong).status_code == 400, wrong
    image = releases.make(ring.release, "1.1.0", 2)["envelopes"]["unix"]
    swapped = {**good, "targets": {"unix": {"envelope": base64.b64encode(image).decode()}}}
    assert publish(server, swapped).status_code == 422, "an image's manifest is not data"
    assert server.api("GET", "/data")["data"] == []
    assert publish(server, good).status_code == 201
