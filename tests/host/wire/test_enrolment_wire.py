"""Enrolment on the wire, as the host reads and writes it; the device's tests read the same vectors."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import cbor2
import pytest
from projects import VECTORS, vectors
from test_wire_cddl import fits

from tidegate import enrolment
from tidegate.errors import Refused, TidegateError
from tidegate.trust import keys
from tidegate.trust import store as trust_store

ALL = vectors("enrolment.json")


def of(kind: str) -> list[dict[str, Any]]:
    return [case for case in ALL if case["kind"] == kind]


def name(case: dict[str, Any]) -> str:
    return case["name"]


def test_are_what_the_maker_writes() -> None:
    maker = [sys.executable, VECTORS / "make_enrolment_vectors.py", "--check"]
    done = subprocess.run(maker, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_both_verdicts_are_there() -> None:
    assert len(of("request")) >= 2 and len(of("bad-request")) >= 15
    assert sum("value" in case for case in of("answer")) >= 3 and sum("value" not in c for c in of("answer")) >= 15


def test_claims_as_text() -> None:
    for case in of("claim"):
        claim = enrolment.parse(f"  {case['text']}\n")
        assert (claim.id.hex(), claim.secret.hex(), claim.trust.hex()) == (case["id"], case["secret"], case["trust"])
        assert claim.text == case["text"] and claim.device == case.get("device")
        assert case["secret"] not in repr(claim) and str(claim.secret) not in repr(claim)


_BAD = ("", "x", "cut", "case", "prefix", "secret", "space", "device", "device-name", "device-long", "device-twice")


@pytest.mark.parametrize("change", _BAD)
def test_what_is_no_claim(change: str) -> None:
    text = of("claim")[0]["text"]
    bad = {
        "": "",
        "x": text + "0",
        "cut": text[:-1],
        "case": text.upper(),
        "prefix": text.replace("tgc1", "tgc2"),
        "secret": text[:64] + ("B" if text[64] != "B" else "C") + text[65:],  # bits that say nothing
        "space": text[:30] + " " + text[31:],
        "device": text + "_",
        "device-name": text + "_Pump.7",
        "device-long": text + "_" + "d" * 33,
        "device-twice": text + "_gate-7_gate-8",
    }[change]
    with pytest.raises(TidegateError, match="not a claim"):
        enrolment.parse(bad)


def test_a_claim_is_completed_on_the_operators_machine() -> None:
    store = trust_store.encode(trust_store.make([keys.new("release"), keys.new("command")]))
    claim = enrolment.complete(enrolment.offered(bytes(8), bytes(range(32))), store)
    assert claim.trust == enrolment.trust_fingerprint(store) and enrolment.parse(claim.text) == claim
    with pytest.raises(TidegateError):
        enrolment.complete(enrolment.offered(bytes(8), bytes(32)), b"no trust store")
    offer = enrolment.offered(bytes(8), bytes(range(32)))
    named = enrolment.complete(offer, store, "gate-7")
    assert named.device == "gate-7" and named.text == f"{claim.text}_gate-7" and enrolment.parse(named.text) == named
    # Of an id that is a thumbprint the board's key says whether it is the board's; older boards take such a claim, too.
    assert enrolment.complete(offer, store, "0f" * 16) == claim
    with pytest.raises(TidegateError, match="not a claim"):
        enrolment.complete(claim.text, store)  # a server that names a trust store itself


def test_credentials() -> None:
    case = of("credentials")[0]
    claim, salt = enrolment.parse(case["claim"]), bytes.fromhex(case["salt"])
    assert enrolment.mqtt_password(claim.secret, salt) == case["password"]
    assert enrolment.coap_key(claim.secret, salt).hex() == case["coap_key"]


@pytest.mark.parametrize("case", of("request"), ids=name)
def test_requests(case: dict[str, Any]) -> None:
    claim, data = enrolment.parse(case["claim"]), bytes.fromhex(case["request"])
    asked = enrolment.decode_request(data)
    assert asked.claim_id == claim.id and asked.holds(claim.secret)
    request = asked.open()
    assert enrolment.device_id(request.public) == case["device"]
    assert request.hardware == enrolment.hardware_fingerprint(bytes.fromhex(case["unique_id"]))
    assert (request.board, request.product, request.nonce.hex()) == (case["board"], case["product"], case["nonce"])
    assert request.trust == (claim.trust if case["wants"] else None)
    assert enrolment.encode_request(request, bytes.fromhex(case["seed"]), claim.secret) == data
    assert len(data) <= enrolment.MAX_REQUEST
    outer = cbor2.loads(data).value
    inner = cbor2.loads(outer[2]).value
    parts = {"enrol-request": data, "request-header": outer[0], "enrol-proof": outer[2], "proof-header": inner[0]}
    for rule, part in {**parts, "enrol-facts": inner[2]}.items():
        assert fits(rule, part), rule


@pytest.mark.parametrize("case", of("bad-request"), ids=name)
def test_bad_requests(case: dict[str, Any]) -> None:
    claim, data = enrolment.parse(case["claim"]), bytes.fromhex(case["request"])
    if case["reason"] == "mac":
        assert not enrolment.decode_request(data).holds(claim.secret)
        return
    with pytest.raises(Refused) as refusal:
        asked = enrolment.decode_request(data)
        assert asked.holds(claim.secret)
        asked.open()
    assert refusal.value.reason == case["reason"] and refusal.value.message


@pytest.mark.parametrize("case", of("answer"), ids=name)
def test_answers(case: dict[str, Any]) -> None:
    claim, data = enrolment.parse(case["claim"]), bytes.fromhex(case["answer"])
    nonce = bytes.fromhex(case["nonce"])
    if "value" in case:
        answer = enrolment.open_answer(data, claim.secret, nonce)
        wanted = case["value"]
        assert (answer.device, answer.salt.hex(), answer.group) == (wanted["device"], wanted["salt"], wanted["group"])
        assert enrolment.encode_answer(answer, claim.secret) == data
        outer = cbor2.loads(data).value
        parts = {"enrol-answer": data, "answer-header": outer[0], "enrolled": outer[2]}
        assert all(fits(rule, part) for rule, part in parts.items())


def test_the_longest_request_and_answer_fit() -> None:
    key = keys.new("release")
    longest = enrolment.Request(key.public, bytes(8), "b" * 32, "p" * 64, bytes(8), bytes(16), bytes(16))
    assert len(enrolment.encode_request(longest, key.seed_for("release"), bytes(32))) <= enrolment.MAX_REQUEST
    answer = enrolment.Answer("d" * 32, bytes(16), bytes(16), "g" * 32, bytes(trust_store.MAX_SIZE), "n" * 32)
    assert len(enrolment.encode_answer(answer, bytes(32))) <= enrolment.MAX_ANSWER
