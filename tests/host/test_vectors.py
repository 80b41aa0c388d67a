"""The shared vectors: current, and judged by the host as they say. The device's tests read the same files."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import pytest
from projects import VECTORS, vectors

from tidegate import delta, manifest
from tidegate.commands import cwt
from tidegate.errors import Refused
from tidegate.trust import store as trust_store
from tidegate.wire import cbor, messages, proofs, senml

SETTING, *MANIFESTS = vectors("manifests.json")
DEVICE, *COMMANDS = vectors("commands.json")
STORE = trust_store.decode(bytes.fromhex(SETTING["trust"]))


def name(case: dict[str, Any]) -> str:
    return f"{case['kind']}: {case['name']}" if "kind" in case else case["name"]


def test_are_what_the_maker_writes() -> None:
    done = subprocess.run([sys.executable, VECTORS / "make_vectors.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", MANIFESTS, ids=name)
def test_manifest(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["envelope"])
    if case["host"]["verdict"] == "refuse":
        with pytest.raises(Refused) as refusal:
            manifest.verify(data, STORE)
        assert refusal.value.reason == case["host"]["reason"]
        assert refusal.value.message
        return
    found = manifest.verify(data, STORE)
    assert manifest.encode(found) == manifest.open_envelope(data).manifest
    expected = case["device"].get("expect")
    if expected:
        assert found.sequence == expected["sequence"]
        assert (found.image.digest.hex(), found.image.size) == (expected["digest"], expected["size"])


def test_both_verdicts_are_there() -> None:
    """A vector file that lost its good or its bad cases would still pass case by case."""
    for cases, verdict in (
        (MANIFESTS, lambda c: c["host"]["verdict"]),
        (COMMANDS, lambda c: c["verdict"]),
    ):
        found = [verdict(case) for case in cases]
        assert found.count("accept") >= 5 and found.count("refuse") >= 30


@pytest.mark.parametrize("case", COMMANDS, ids=name)
def test_command(case: dict[str, Any]) -> None:
    def judge() -> cwt.Command:
        return cwt.verify(
            bytes.fromhex(case["command"]),
            STORE,
            DEVICE["device"],
            now=case["now"],
            nonce=bytes.fromhex(DEVICE["nonce"]),
            last=bytes.fromhex(DEVICE["last"]["cti"]),
        )

    if case["verdict"] == "refuse":
        with pytest.raises(Refused) as refusal:
            judge()
        assert refusal.value.reason == case["reason"]
    else:
        found = judge()
        told = {"opcode": found.opcode, "arguments": found.arguments, "cti": found.cti.hex()}
        assert told == case["expect"]


@pytest.mark.parametrize("case", vectors("messages.json"), ids=name)
def test_message(case: dict[str, Any]) -> None:
    read = getattr(messages, case["kind"])
    if "reason" in case:
        with pytest.raises(Refused) as refusal:
            read(bytes.fromhex(case["message"]))
        assert refusal.value.reason == case["reason"]
    else:
        assert read(bytes.fromhex(case["message"])) == case["value"]


@pytest.mark.parametrize("case", vectors("proofs.json"), ids=lambda c: f"{c['kind']}: {c['name']}")
def test_proof(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["proof"])
    read = {"birth": proofs.open_birth, "result": proofs.open_result}[case["kind"].removeprefix("bad-")]
    if "reason" in case:
        with pytest.raises(Refused) as refusal:
            read(data)
        assert refusal.value.reason == case["reason"]
        return
    found = read(data)
    assert (found.device, found.nonce.hex()) == (case["device"], case["nonce"])
    if isinstance(found, proofs.BirthProof):
        assert (
            found.hardware.hex() == case["hardware"] and proofs.encode_birth(found, bytes.fromhex(case["seed"])) == data
        )
        return
    assert (found.command.hex(), found.output and found.output.hex()) == (case["command"], case["output"])
    assert (None, found.answer) == proofs.split_result(bytes.fromhex(case["end"]))
    whole = cbor.dumps({**cbor.loads(bytes.fromhex(case["end"])), 7: data})
    assert proofs.split_result(whole) == (data, found.answer)


@pytest.mark.parametrize("case", vectors("senml.json"), ids=name)
def test_telemetry(case: dict[str, Any]) -> None:
    if "reason" in case:
        with pytest.raises(Refused) as refusal:
            senml.decode(bytes.fromhex(case["pack"]), case["now"])
        assert refusal.value.reason == case["reason"]
    else:
        assert senml.decode(bytes.fromhex(case["pack"]), case["now"]) == case["records"]


@pytest.mark.parametrize("case", vectors("trust.json"), ids=name)
def test_trust_store(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["store"])
    if "reason" in case:
        with pytest.raises(Refused) as refusal:
            trust_store.decode(data)
        assert refusal.value.reason == case["reason"]
        return
    store = trust_store.decode(data)
    assert [[key.role, key.kid.hex(), key.public.hex()] for key in store.keys] == case["keys"]
    assert trust_store.encode(store) == data


@pytest.mark.parametrize("case", vectors("ids.json"), ids=lambda c: c.get("board", c["vendor"]))
def test_ids(case: dict[str, str]) -> None:
    vendor = manifest.vendor_id(case["vendor"])
    assert vendor.hex() == case["vendor_id"]
    if "class_id" in case:
        assert manifest.class_id(vendor, case["product"], case["board"]).hex() == case["class_id"]


@pytest.mark.parametrize("case", vectors("host_patches.json"), ids=lambda c: c["why"])
def test_patch(case: dict[str, str]) -> None:
    assert delta.apply(bytes.fromhex(case["old"]), bytes.fromhex(case["patch"])).hex() == case["new"]


ADAPTIVE = vectors("adaptive_patches.json")
ADAPTIVE_BASE = b"".join(bytes.fromhex(case["base"]) for case in ADAPTIVE if "base" in case)


@pytest.mark.parametrize("case", [case for case in ADAPTIVE if "patch" in case], ids=lambda c: c["why"])
def test_adaptive_patch(case: dict[str, Any]) -> None:
    old, patch = ADAPTIVE_BASE[: case["old_size"]], bytes.fromhex(case["patch"])
    if "new_sha256" in case:
        made = delta.apply(old, patch)
        assert (len(made), hashlib.sha256(made).hexdigest()) == (case["new_size"], case["new_sha256"])
    else:
        with pytest.raises(delta.PatchError):
            delta.apply(old, patch)


# ---------------------------------------------------------------- bytes made without this library

WIRE = vectors("wire.json")
PAYLOADS = vectors("wire_payloads.json")
SETUP = next(entry for entry in WIRE if entry["kind"] == "setup")
WIRE_STORE = trust_store.decode(bytes.fromhex(SETUP["trust"]))


def padded(case: dict[str, Any]) -> bytes:
    return bytes.fromhex(case["data"]) + bytes(case.get("pad", 0))


@pytest.mark.parametrize("case", [c for c in WIRE if c["kind"] == "envelope"], ids=name)
def test_foreign_manifest(case: dict[str, Any]) -> None:
    """Envelopes written from docs/wire.cddl by hand (tests/vectors/make_wire_vectors.py)."""
    data = padded(case)
    this_board = manifest.class_id(manifest.vendor_id(SETUP["vendor"]), SETUP["product"], SETUP["board"])
    if "refused" in case:
        try:
            found = manifest.verify(data, WIRE_STORE)
        except Refused:
            return
        # Only what a device decides by what it is, the host cannot refuse.
        assert found.class_id != this_board or found.vendor_id.hex() != SETUP["vendor_id"]
        return
    if case["name"] == "image":
        # A try-each of one branch: the device runs it, but the draft's grammar wants two, so it is never made.
        with pytest.raises(Refused, match="install must try"):
            manifest.verify(data, WIRE_STORE)
        return
    found = manifest.verify(data, WIRE_STORE)
    assert found.sequence == case["sequence"]
    assert (found.image.digest.hex(), found.image.size) == (case["image"], case["size"])
    payloads = {found.image.digest.hex(): found.image.size, **{p.digest.hex(): p.size for p in found.patches}}
    assert payloads[case["payload"]] == case["payload_size"]
    assert manifest.encode(found) == manifest.open_envelope(data).manifest


def test_foreign_patches() -> None:
    images = {entry["number"]: bytes.fromhex(entry["data"]) for entry in PAYLOADS if entry["kind"] == "image"}
    patches = [entry for entry in PAYLOADS if entry["kind"] == "patch"]
    assert patches
    for entry in patches:
        assert delta.apply(images[entry["old"]], bytes.fromhex(entry["data"])) == images[entry["new"]]


@pytest.mark.parametrize("case", [c for c in vectors("wire_commands.json") if c["kind"] == "command"], ids=name)
def test_foreign_command(case: dict[str, Any]) -> None:
    """What the device does with each in order is its business; form, key, audience and nonce are the host's too."""
    judged_elsewhere = {"replay", "opcode", "arguments", "role", "dangerous", None}
    data, nonce = padded(case), bytes.fromhex(SETUP["nonce"])
    try:
        found = cwt.verify(data, WIRE_STORE, SETUP["device"], nonce=nonce)
    except Refused as refusal:
        # Without the counters a replay is judged by what else is wrong with it.
        assert refusal.reason == case["reason"] or case["name"] == "nonce-again"
    else:
        assert case["reason"] in judged_elsewhere
        assert found.cti.hex() == case["cti"]
