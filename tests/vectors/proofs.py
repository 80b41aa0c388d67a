"""What a device signs with its own key, good and bad: proofs of births and of results."""

from __future__ import annotations

from typing import Any

from common import COMMAND, DEVICE, NONCE, digest, seed

from tidegate.trust import keys
from tidegate.wire import cbor, cose, proofs

SEED = seed("board")
PUBLIC = keys.from_seed("release", SEED).public
OWN = proofs.thumbprint(PUBLIC)
HARDWARE = bytes.fromhex("0102030405060708")
END = {1: bytes.fromhex("00066085f1c3a001"), 2: 0, 3: {"heap_free": 71234}, 5: [2, False]}
BORN, ANSWERED = "application/vnd.tidegate.birth+cbor", "application/vnd.tidegate.result+cbor"


def cases() -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for device in (OWN, DEVICE):
        birth = proofs.BirthProof(PUBLIC, device, NONCE, HARDWARE)
        entry = {
            "kind": "birth",
            "seed": SEED.hex(),
            "device": device,
            "nonce": NONCE.hex(),
            "hardware": HARDWARE.hex(),
        }
        out.append({**entry, "name": f"of {device}", "proof": proofs.encode_birth(birth, SEED).hex()})
        for output in (None, digest("output")):
            answer = proofs.split_result(cbor.dumps(END))[1]
            result = proofs.ResultProof(PUBLIC, device, NONCE, digest("command"), answer, output)
            entry = {
                "kind": "result", "seed": SEED.hex(), "device": device, "nonce": NONCE.hex(),
                "end": cbor.dumps(END).hex(), "command": digest("command").hex(), "output": output and output.hex(),
            }  # fmt: skip
            name = f"of {device}, {'with' if output else 'without'} output"
            out.append({**entry, "name": name, "proof": proofs.encode_result(result, SEED).hex()})

    facts: dict[int, Any] = {1: 1, 2: cose.cose_key(PUBLIC), 3: OWN, 4: NONCE, 5: HARDWARE}

    def signed(changed: dict[int, Any], by: bytes = SEED, kind: str = BORN) -> bytes:
        said = {label: item for label, item in {**facts, **changed}.items() if item is not None}
        return cose.sign1(by, cbor.dumps(said), headers={cose.HEADER_TYP: kind})

    def opened(at: int, item: Any) -> bytes:
        value = cbor.loads(signed({}), tags=frozenset({18}))
        value.value[at] = item
        return cbor.dumps(value)

    named = cbor.loads(signed({}), tags=frozenset({18})).value[1]
    other = keys.from_seed("release", seed("another board"))
    for name, reason, data in (
        ("nothing", "malformed", b""),
        ("a number", "malformed", b"\x07"),
        ("one byte more", "malformed", signed({}) + b"\0"),
        ("cut off", "malformed", signed({})[:-1]),
        ("by another key than it shows", "malformed", signed({}, seed("another board"))),
        ("the other key's id is claimed to be this one's", "signature", _renamed(signed({}, seed("another board")))),
        ("another device's id", "other-key", signed({3: proofs.thumbprint(other.public)})),
        (
            "another key and the id of this one",
            "other-key",
            signed({2: cose.cose_key(other.public)}, seed("another board")),
        ),
        ("typed as a result", "typ", signed({}, kind=ANSWERED)),
        ("typed as an enrolment", "typ", signed({}, kind="application/vnd.tidegate.enrol+cbor")),
        ("another nonce under the signature", "signature", opened(2, cbor.dumps({**facts, 4: bytes(8)}))),
        ("another device under the signature", "signature", opened(2, cbor.dumps({**facts, 3: "gate-8"}))),
        ("a header that is not signed", "malformed", opened(1, {**named, 5: b"iv"})),
        ("no key id", "malformed", opened(1, {})),
        ("no payload", "malformed", opened(2, None)),
        ("a nonce of 7 bytes", "malformed", signed({4: bytes(7)})),
        ("no nonce", "malformed", signed({4: None})),
        ("hardware of 7 bytes", "malformed", signed({5: bytes(7)})),
        ("a label more", "malformed", signed({9: 1})),
        ("another version", "malformed", signed({1: 2})),
        ("a version that is true", "malformed", signed({1: True})),
        ("a device that is a path", "malformed", signed({3: "../x"})),
        ("a device that is a number", "malformed", signed({3: 7})),
        ("a private key", "malformed", signed({2: {**cose.cose_key(PUBLIC), -4: bytes(32)}})),
        ("a key of 31 bytes", "malformed", signed({2: cose.cose_key(bytes(31))})),
    ):
        out.append({"kind": "bad-birth", "name": name, "reason": reason, "proof": data.hex()})
    said = {label: item for label, item in facts.items() if label != 5} | {6: bytes(32), 7: bytes(32)}

    def answered(changed: dict[int, Any], by: bytes = SEED, kind: str = ANSWERED) -> bytes:
        return cose.sign1(by, cbor.dumps({**said, **changed}), headers={cose.HEADER_TYP: kind})

    for name, reason, data in (
        ("typed as a birth", "typ", answered({}, kind=BORN)),
        ("a digest of 31 bytes", "malformed", answered({7: bytes(31)})),
        ("an output that is text", "malformed", answered({8: "x"})),
        ("by a command key, which names itself", "malformed", answered({}, COMMAND.private or b"")),
    ):
        out.append({"kind": "bad-result", "name": name, "reason": reason, "proof": data.hex()})
    return out


def _renamed(data: bytes) -> bytes:
    """The same, with the key id of the key inside."""
    value = cbor.loads(data, tags=frozenset({18}))
    value.value[1] = {4: cose.key_id(PUBLIC)}
    return cbor.dumps(value)
