"""docs/wire.cddl against real messages, by pycddl: what we say must fit, and what is wrong must not.

pycddl 0.6 falls over byte-string literals and applies `.cbor` inside an array to all of its items, so for
it the literals become sizes and the rules named wrapped-* become plain byte strings; the rules inside
them are then checked one by one. It also overlooks what is too much in maps and arrays within arrays,
so of the bad vectors those are named here that it can tell; tidegate's own decoders refuse them all
(test_vectors.py).
"""

from __future__ import annotations

import re
from typing import Any

import cbor2
import pycddl
import pytest
from projects import ROOT, vectors

from tidegate import manifest
from tidegate.wire import cbor

TEXT = (ROOT / "docs" / "wire.cddl").read_text()
DIGEST = bytes(32)


def for_pycddl(text: str) -> str:
    text = re.sub(r"h'([0-9a-f]*)'", lambda found: f"bstr .size {len(found[1]) // 2}", text)
    text = re.sub(r"^(wrapped-[a-z0-9-]+) = .*$", r"\1 = bstr", text, flags=re.M)
    # What is wrapped looks alike: the two occurrences become one.
    text = re.sub(r"^authentication = .*$", "authentication = [2*5 bstr]", text, flags=re.M)
    return re.sub(r"^branches = .*$", "branches = [2*9 bstr]", text, flags=re.M)


def schema(rule: str) -> pycddl.Schema:
    return pycddl.Schema(f"start = {rule}\n{for_pycddl(TEXT)}")


def fits(rule: str, data: bytes) -> bool:
    try:
        schema(rule).validate_cbor(data)
    except pycddl.ValidationError:
        return False
    return True


def test_parses() -> None:
    pycddl.Schema(TEXT)


def test_every_rule_is_used() -> None:
    rules = re.findall(r"^([a-z][a-z0-9-]*) = ", TEXT, flags=re.M)
    assert len(rules) == len(set(rules))
    for rule in rules:
        assert rule == "wire" or len(re.findall(rf"(?<![a-z0-9-]){rule}(?![a-z0-9-])", TEXT)) > 1, rule


# ---------------------------------------------------------------- messages

MESSAGES = vectors("messages.json")
# Not CBOR, or beyond what pycddl sees.
BEYOND = {
    "cut off",
    "one byte more",
    "nine keys",
    "nine keys in two roles",
    "a key with a private part",
    "no keys",
    "role 9",
    "a revoked key as text",
    # What CDDL has no words for.
    "a threshold above the keys",
    "a key twice in a role",
    "a key in two roles",
    "a revoked key in use",
    "a key revoked twice",
    "65 records",
    "settings that are no digest",  # text where bytes belong
    "a label that must be understood",
    "data of another name",
    "of a component with a bad name",
    "a part with an answer",
    "a part with a proof",
    "a proof that is text",  # where bytes belong
    "a proof that is a number",
}


def seen(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [case for case in cases if case["name"] not in BEYOND]


@pytest.mark.parametrize("case", seen(MESSAGES), ids=lambda c: f"{c['kind']}: {c['name']}")
def test_messages(case: dict[str, Any]) -> None:
    assert fits(case["kind"], bytes.fromhex(case["message"])) == ("value" in case)


@pytest.mark.parametrize("case", [c for c in vectors("proofs.json") if "reason" not in c], ids=lambda c: c["name"])
def test_proofs(case: dict[str, Any]) -> None:
    kind, data = case["kind"], bytes.fromhex(case["proof"])
    parts = cbor2.loads(data).value
    assert fits(f"{kind}-proof", data) and fits(f"{kind}-header", parts[0]) and fits(f"{kind}-facts", parts[2])
    other = "result" if kind == "birth" else "birth"
    assert not fits(f"{other}-header", parts[0]) and not fits(f"{other}-facts", parts[2])


@pytest.mark.parametrize("case", seen(vectors("trust.json")), ids=lambda c: c["name"])
def test_trust_stores(case: dict[str, Any]) -> None:
    assert fits("trust-store", bytes.fromhex(case["store"])) == ("keys" in case)


UPDATES = {case["name"]: bytes.fromhex(case["updates"][0]["update"]) for case in vectors("rotations.json")}


@pytest.mark.parametrize("name", ["one key, replaced", "3 of 5, all replaced", "the release key is lost"])
def test_trust_updates(name: str) -> None:
    parts = cbor2.loads(UPDATES[name]).value
    assert fits("trust-update", UPDATES[name])
    assert fits('{ 16: "application/vnd.tidegate.trust+cbor" }', parts[0]) and fits("trust-store", parts[2])
    assert all(fits("cose-signature", cbor2.dumps(signature)) for signature in parts[3])


@pytest.mark.parametrize(
    "name",
    ["typed as a command", "no signature", "no key id", "a signature of 63 bytes", "algorithm -8", "a COSE_Sign1"],
)
def test_trust_updates_that_do_not_fit(name: str) -> None:
    parts = cbor2.loads(UPDATES[name]).value
    assert not (
        fits("trust-update", UPDATES[name])
        and fits('{ 16: "application/vnd.tidegate.trust+cbor" }', parts[0])
        and all(fits("cose-signature", cbor2.dumps(signature)) for signature in parts[3])
        and all(fits("{ 1: -19 }", signature[0]) for signature in parts[3])
    )


@pytest.mark.parametrize("case", seen(vectors("senml.json")), ids=lambda c: c["name"])
def test_telemetry(case: dict[str, Any]) -> None:
    """The CDDL bounds packs; what a record may hold is RFC 8428's."""
    bounded = case["name"] not in ("no record", "not an array")
    assert fits("senml-pack", bytes.fromhex(case["pack"])) == bounded


# ---------------------------------------------------------------- commands


def command_parts(data: bytes) -> dict[str, bytes]:
    sign1 = cbor2.loads(data)
    return {"command": data, "claims": sign1.value[2], "{ 1: -19, 16: 61 }": sign1.value[0]}


COMMANDS = vectors("commands.json")[1:]


@pytest.mark.parametrize("case", [c for c in COMMANDS if c["verdict"] == "accept"], ids=lambda c: c["name"])
def test_commands(case: dict[str, Any]) -> None:
    for rule, part in command_parts(bytes.fromhex(case["command"])).items():
        assert fits(rule, part), rule


@pytest.mark.parametrize(
    "name",
    [
        *("no type", "another type", "a protected header more", "detached", "no key id", "no audience", "no expiry"),
        *("no issue time", "no counter", "no request", "a claim more", "a counter of 7 bytes"),
        *("a nonce of 7 bytes", "an audience that is bytes", "an expiry that is text", "a negative issue time"),
        *("a request of one part", "an opcode that is a number", "an argument named by a number"),
    ],
)
def test_commands_that_do_not_fit(name: str) -> None:
    case = next(case for case in COMMANDS if case["name"] == name)
    parts = command_parts(bytes.fromhex(case["command"]))
    assert not all(part is not None and fits(rule, part) for rule, part in parts.items())


# ---------------------------------------------------------------- manifests


def manifest_parts(data: bytes) -> list[tuple[str, bytes]]:
    """Rule and bytes of an envelope and of everything wrapped in it."""
    parts = [("suit-envelope", data)]
    envelope = cbor2.loads(data).value
    wrapper = cbor2.loads(envelope[2])
    parts += [("authentication", envelope[2]), ("sha256", wrapper[0]), ("manifest", envelope[3])]
    for signature in wrapper[1:]:
        parts += [("sign1-detached", signature), ("{ 1: -19 }", cbor2.loads(signature).value[0])]
    members = cbor2.loads(envelope[3])
    parts += [("common", members[3]), ("validate", members[7]), ("install", members[20]), ("for-people", members[23])]
    parts.append(("shared-sequence", cbor2.loads(members[3])[4]))
    install = cbor2.loads(members[20])
    if install[0] == 15:
        parts += [("patch-branch", branch) for branch in install[1][:-1]]
        parts.append(("image-branch", install[1][-1]))
    return parts


MANIFESTS = vectors("manifests.json")[1:]


@pytest.mark.parametrize("case", [c for c in MANIFESTS if c["host"]["verdict"] == "accept"], ids=lambda c: c["name"])
def test_manifests(case: dict[str, Any]) -> None:
    for rule, part in manifest_parts(bytes.fromhex(case["envelope"])):
        assert fits(rule, part), rule


@pytest.mark.parametrize(
    "name",
    [
        *("another tag", "without wrapper", "without manifest", "a member beyond the profile", "no signature"),
        *("a signature of 63 bytes", "no key id", "the payload attached", "algorithm -8", "a SHA-512 digest"),
        *("structure version 2", "a sequence number of 33 bits", "a load section", "no validate section"),
        *("no vendor condition", "no image digest", "a digest of 31 bytes", "a vendor id of 15 bytes"),
        *("a reporting policy of 16", "install copies"),
        *("component index 2", "patch format 2", "the base is the next slot", "a patch of no bytes"),
        *("another folder of payloads", "fetch arguments that lack one", "no components"),
    ],
)
def test_manifests_that_do_not_fit(name: str) -> None:
    case = next(case for case in MANIFESTS if case["name"] == name)
    data = bytes.fromhex(case["envelope"])
    try:
        parts = manifest_parts(data)
    except (KeyError, IndexError, TypeError, AttributeError):
        assert not fits("suit-envelope", data) or not fits("manifest", cbor2.loads(data).value[3])
        return
    assert not all(fits(rule, part) for rule, part in parts)


def test_the_literals_that_pycddl_cannot_see() -> None:
    """Component ids are byte strings in the CDDL; held here against the code."""
    literals = dict(re.findall(r"^(next-id|run-id) = h'([0-9a-f]+)'", TEXT, flags=re.M))
    made = manifest.encode(manifest.Manifest(1, "1", bytes(16), bytes(16), manifest.Image(DIGEST, 1)))
    components = cbor.loads(cbor.loads(made)[3])[2]
    assert components == [[bytes.fromhex(literals["next-id"])], [bytes.fromhex(literals["run-id"])]]
