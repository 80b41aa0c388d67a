"""Writes wire.json: envelopes and a trust store, good and bad, with what a device must make of them,
wire_payloads.json: the images and patches they are about, wire_commands.json: commands, the same way, and
wire_asked.json: good commands in order.

    python tests/vectors/make_wire_vectors.py

Written against docs/wire.cddl with cbor2 and PyNaCl only, on purpose without Tidegate's own host library: the device
and the host library are both held against these bytes. Deterministic: keys come from fixed seeds (of no use
elsewhere), so the file changes only when this script does. One JSON object a line.
"""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
import zlib
from pathlib import Path
from typing import Any

import cbor2
from nacl.signing import SigningKey

HERE = Path(__file__).parent
VENDOR, PRODUCT, BOARD, DEVICE = "tidegate.example", "tidegate-gateway", "simulated", "gateway-1"
VENDOR_ID = uuid.uuid5(uuid.NAMESPACE_DNS, VENDOR)
CLASS_ID = uuid.uuid5(VENDOR_ID, f"{PRODUCT}/{BOARD}")
NONCE = bytes.fromhex("0102030405060708")
RELEASE, COMMAND, DIAGNOSE, STRANGER = (SigningKey(bytes([n]) * 32) for n in (1, 2, 4, 9))
NEXT, RUN = [b"next"], [b"run"]
ISSUED = 1_790_000_000


def enc(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=False) if not isinstance(value, dict) else cbor2.dumps(ordered(value))


def ordered(value: dict) -> dict:
    """RFC 8949 4.2.1: keys by the bytes of their encodings (cbor2's own `canonical` is length-first)."""
    return dict(sorted(value.items(), key=lambda item: cbor2.dumps(item[0])))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def digest(data: bytes) -> bytes:
    """An encoded SUIT_Digest."""
    return enc([-16, sha256(data)])


# ------------------------------------------------------------------ images and patches


def image(number: int, size: int = 5000) -> bytes:
    """Release `number`: pseudo-random, a little different from its predecessor in places and in length."""
    data = bytearray(b"".join(sha256(b"tidegate image %d" % n) for n in range(size // 32 + 1))[:size])
    for release in range(2, number + 1):
        for place in range(100 * release, len(data), 700):
            data[place] = data[place] + release & 255
        data[2000:2000] = b"new in release %d. " % release * 3
    return bytes(data)


def uvarint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def zigzag(value: int) -> bytes:
    return uvarint(value << 1 if value >= 0 else (-value << 1) - 1)


def patch(old: bytes, new: bytes) -> bytes:
    """Codec 0, by the simplest means: common start, what lies between as new bytes, common end."""
    start = 2000  # where image() inserts
    tail = len(new) - 2000 - (len(new) - len(old))
    ops = operation(old[:start], new[:start], new[start : start + len(new) - len(old)], 0)
    ops += operation(old[start:], new[len(new) - tail :], b"", 0)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -9, 9)
    head = bytes([0xD0]) + uvarint(len(old)) + zigzag(len(new) - len(old)) + sha256(old)[:4] + sha256(new)[:4]
    return head + deflate.compress(ops) + deflate.flush()


def operation(old: bytes, new: bytes, extra: bytes, seek: int) -> bytes:
    out = uvarint(len(new)) + uvarint(len(extra)) + zigzag(seek)
    at = 0
    while at < len(new):
        run = 0
        while at + run < len(new) and old[at + run] == new[at + run]:
            run += 1
        out += uvarint(run)
        at += run
        if at < len(new):
            out += bytes([new[at] - old[at] & 255])
            at += 1
    return out + extra


# ------------------------------------------------------------------ keys and COSE


def cose_key(key: SigningKey) -> dict:
    return ordered({1: 1, -1: 6, -2: bytes(key.verify_key)})


def kid(key: SigningKey) -> bytes:
    return sha256(enc(cose_key(key)))[:8]


def sign1(key: SigningKey, payload: bytes, *, detached: bool, headers: dict, unprotected: dict | None = None) -> bytes:
    protected = enc(headers)
    signature = key.sign(enc(["Signature1", protected, b"", payload])).signature
    if unprotected is None:
        unprotected = {4: kid(key)}
    return enc(cbor2.CBORTag(18, [protected, unprotected, None if detached else payload, signature]))


# ------------------------------------------------------------------ manifests


def manifest(number: int, bases: list[int], **change: Any) -> dict:
    """The members of the manifest of release `number`, with a patch branch from each base."""
    new = image(number)
    shared = [
        *(12, 0, 20, ordered({1: change.get("vendor", VENDOR_ID.bytes), 2: change.get("klass", CLASS_ID.bytes)})),
        *(20, ordered({3: digest(new), 14: len(new), 21: "p/"}), 1, 15, 2, 15),
    ]
    # One override with all five, as the profile has it.
    shared = [12, 0, 20, ordered({**shared[3], **shared[5]}), *shared[6:]]
    branches = [patch_branch(image(base), new) for base in bases] + [image_branch(new)]
    install = [15, branches, 12, 0, 21, 15, 3, 15]
    members = {
        1: 1,
        2: change.get("sequence", number),
        3: enc(ordered({2: [NEXT, RUN], 4: enc(change.get("shared", shared))})),
        7: enc([3, 15]),
        20: enc(change.get("install", install)),
        23: enc({"en": {("next",): {6: f"1.{number}.0", **change.get("said", {})}}}).replace(
            b"\x81\x64next", b"\x81\x44next"
        ),
    }
    members.update(change.get("members", {}))
    return ordered(members)


def patch_branch(old: bytes, new: bytes) -> bytes:
    data = patch(old, new)
    arguments = enc(ordered({1: 1, 2: 1, 3: len(data), 4: sha256(data)}))
    return enc(
        [
            *(12, 1, 20, ordered({3: digest(old), 14: len(old)}), 3, 15),
            *(12, 0, 20, {25: arguments}),
        ]
    )


def image_branch(new: bytes) -> bytes:
    return enc([12, 0, 20, {21: f"p/{sha256(new).hex()}"}])


def envelope(members: dict, keys: list[SigningKey] | None = None, **change: Any) -> bytes:
    body = enc(members)
    head = enc(body)  # with its byte-string head
    signed = enc([-16, sha256(head)])
    detached = {"detached": True, "headers": change.get("headers", {1: -19}), "unprotected": change.get("unprotected")}
    signatures = [sign1(key, signed, **detached) for key in keys or [RELEASE]]
    wrapper = enc([signed, *signatures])
    return enc(cbor2.CBORTag(107, ordered({2: wrapper, 3: body, **change.get("extra", {})})))


# ------------------------------------------------------------------ what is written


def setup() -> dict:
    roles = {role: [1, [cose_key(key)]] for role, key in ((1, RELEASE), (2, COMMAND), (4, DIAGNOSE))}
    store = enc({1: 1, 2: roles, 3: []})
    return {
        "kind": "setup",
        "trust": store.hex(),
        "vendor": VENDOR,
        "product": PRODUCT,
        "board": BOARD,
        "device": DEVICE,
        "vendor_id": VENDOR_ID.bytes.hex(),
        "class_id": CLASS_ID.bytes.hex(),
        "nonce": NONCE.hex(),
        "release_kid": kid(RELEASE).hex(),
        "command_kid": kid(COMMAND).hex(),
        "images": {str(number): sha256(image(number)).hex() for number in range(1, 5)},
    }


def accepted(name: str, data: bytes, number: int, running: int, payload: bytes, is_patch: bool) -> dict:
    new = image(number)
    return {
        "kind": "envelope",
        "name": name,
        "data": data.hex(),
        "running": running,
        "sequence": number,
        "image": sha256(new).hex(),
        "size": len(new),
        "payload": sha256(payload).hex(),
        "payload_size": len(payload),
        "is_patch": is_patch,
    }


def refused(name: str, data: bytes, code: int, reason: int, running: int = 1) -> dict:
    """code: docs/reports.md; reason: SUIT's. A vector may say "pad": so many zero bytes follow the data."""
    return {
        "kind": "envelope",
        "name": name,
        "data": data.hex(),
        "running": running,
        "refused": code,
        "suit_reason": reason,
    }


TABLES = {2: b'{"gain": 1.0, "offset": 0.5}', 3: b'{"gain": 1.1, "offset": 0.25}', 4: b'{"gain": -7}'}


def data_manifest(sequence: int, content: bytes, **change: Any) -> dict:
    """The members of the manifest that brings `content` as the data component "calibration"."""
    component = change.get("component", [b"data", b"calibration"])
    parameters = ordered({1: VENDOR_ID.bytes, 2: CLASS_ID.bytes, 3: digest(content), 14: len(content)})
    install = change.get("install", [12, 0, 20, {21: f"p/{sha256(content).hex()}"}, 21, 15, 3, 15])
    text = {"en": {tuple(component): {6: f"1.{sequence}.0"}}}
    return ordered(
        {
            1: 1,
            2: sequence,
            3: enc(ordered({2: [component], 4: enc([12, 0, 20, parameters, 1, 15, 2, 15])})),
            7: enc([3, 15]),
            20: enc(install),
            23: enc(text),
        }
    )


def data_components() -> list[dict]:
    table = TABLES[2]
    patched = [20, {21: "p/", 25: enc(ordered({1: 1, 2: 1, 3: 9, 4: sha256(table)}))}, 21, 15, 3, 15]
    elsewhere = [20, {21: "http://elsewhere.example/x"}, 21, 15, 3, 15]
    made = {f"data-{number}": data_manifest(number, content) for number, content in TABLES.items()}
    made |= {
        "data-2-as-5": data_manifest(5, table),
        "data-other-name": data_manifest(2, table, component=[b"data", b"model"]),
        "data-next": data_manifest(2, table, component=[b"next"]),
        "data-patch": data_manifest(2, table, install=patched),
        "data-elsewhere": data_manifest(2, table, install=elsewhere),
        "data-nothing": data_manifest(2, table, install=[3, 15]),
    }
    return [{"kind": "data", "name": name, "data": envelope(members).hex()} for name, members in made.items()]


def envelopes() -> list[dict]:
    new = image(2)
    good = envelope(manifest(2, [1]))
    direct, back = ([*(12, 0, 20, {21: f"p/{sha256(image(n)).hex()}"}), 21, 15, 3, 15] for n in (2, 1))
    out = [
        accepted("patch", good, 2, 1, patch(image(1), new), True),
        accepted("image", envelope(manifest(2, [])), 2, 1, new, False),
        accepted("image-no-try-each", envelope(manifest(2, [], install=direct)), 2, 1, new, False),
        accepted("third-patch", envelope(manifest(4, [3, 2, 1])), 4, 1, patch(image(1), image(4)), True),
        accepted("second-patch", envelope(manifest(4, [3, 2, 1])), 4, 2, patch(image(2), image(4)), True),
        accepted("no-patch-fits", envelope(manifest(4, [3, 2])), 4, 1, image(4), False),
        accepted("first-patch", envelope(manifest(4, [3, 2, 1])), 4, 3, patch(image(3), image(4)), True),
        {**accepted("back", envelope(manifest(1, [], sequence=5, install=back)), 1, 4, image(1), False), "sequence": 5},
        accepted("next-patch", envelope(manifest(3, [2])), 3, 2, patch(image(2), image(3)), True),
        accepted("within-600-s", envelope(manifest(2, [1], said={-3: 600})), 2, 1, patch(image(1), new), True),
        accepted("two-signatures", envelope(manifest(2, [1]), [STRANGER, RELEASE]), 2, 1, patch(image(1), new), True),
    ]
    shared = cbor2.loads(cbor2.loads(manifest(2, [1])[3])[4])
    install = cbor2.loads(manifest(2, [1])[20])
    bad_signature = bytearray(good)
    bad_signature[good.index(b"\x58\x40") + 10] ^= 1
    changed = bytearray(good)
    changed[-3] ^= 1
    no_class = [*shared[:4], 1, 15]
    uri = {21: f"p/{sha256(new).hex()}"}
    leaky = {3: digest(new), 14: len(new), 99: 1}
    out += [
        refused("stranger", envelope(manifest(2, [1]), [STRANGER]), 3, 4),
        refused("command-key", envelope(manifest(2, [1]), [COMMAND]), 3, 4),
        refused("signature", bytes(bad_signature), 4, 4),
        refused("changed", bytes(changed), 4, 10),
        refused("vendor", envelope(manifest(2, [1], vendor=bytes(16))), 5, 10),
        refused("class", envelope(manifest(2, [1], klass=CLASS_ID.bytes[::-1])), 5, 10),
        refused("class-unchecked", envelope(manifest(2, [1], shared=no_class)), 7, 5),
        refused("fetch-in-shared", envelope(manifest(2, [1], shared=[*shared, 20, uri, 21, 15])), 7, 5),
        refused("unknown-command", envelope(manifest(2, [1], install=[23, 15, *install])), 7, 5),
        refused("true-as-command", envelope(manifest(2, [1], install=[True, 15, *install])), 7, 5),
        refused("unknown-parameter", envelope(manifest(2, [1], install=[20, leaky, *install])), 7, 8),
        refused("unknown-component", envelope(manifest(2, [1], install=[12, 2, *install])), 7, 6),
        refused("odd-sequence", envelope(manifest(2, [1], install=install[:-1])), 2, 1),
        refused("abort", envelope(manifest(2, [1], install=[14, 15, *install])), 17, 10),
        refused("no-branch", envelope(manifest(4, [3], install=[15, [patch_branch(image(3), image(4))]])), 17, 10),
        refused("nothing-installed", envelope(manifest(2, [1], install=[3, 15])), 13, 10),
        refused("member", envelope(manifest(2, [1], members={16: b"\x80"})), 7, 5),
        refused("manifest-version", envelope(manifest(2, [1], members={1: 2})), 7, 5),
        refused("severed", envelope(manifest(2, [1], members={20: [-16, bytes(32)]})), 2, 1),
        refused("alg-8", envelope(manifest(2, [1]), headers={1: -8}), 7, 3),
        refused("no-kid", envelope(manifest(2, [1]), unprotected={}), 2, 2),
        refused("extra-member", envelope(manifest(2, [1]), extra={20: b"\x80"}), 2, 1),
        refused("trailing", good + b"\x00", 2, 1),
        refused("cut", good[:-1], 2, 1),
        refused("untagged", good[2:], 2, 1),
        refused("long-head", good.replace(b"\xd8\x6b\xa2", b"\xd8\x6b\xb8\x02", 1), 2, 1),
        {**refused("too-large", good, 1, 1), "pad": 2048},
        refused("empty", b"", 2, 1),
    ]
    return out


def claims(counter: int, **change: Any) -> dict:
    value = {
        3: DEVICE,
        4: ISSUED + 600,
        6: ISSUED,
        7: struct.pack(">Q", counter),
        10: NONCE,
        -65537: ["ping", {}],
    }
    value.update(change.get("claims", {}))
    return ordered({key: item for key, item in value.items() if item is not None})


def command(counter: int, key: SigningKey = COMMAND, typ: dict | None = None, **change: Any) -> bytes:
    headers = {1: -19, 16: 61} if typ is None else typ
    return sign1(key, enc(claims(counter, **change)), detached=False, headers=headers)


def commands() -> list[dict]:
    """In this order, one device answers: result 0 done, 1 failed, 2 refused; or an alarm alone, with its reason."""
    forged = bytearray(command(12))
    forged[-1] ^= 1

    def entry(name: str, data: bytes, counter: int, result: int | None, reason: str | None) -> dict:
        cti = struct.pack(">Q", counter).hex()
        return {"kind": "command", "name": name, "data": data.hex(), "cti": cti, "result": result, "reason": reason}

    late = {"claims": {10: bytes(8)}}
    return [
        entry("ping", command(10), 10, 0, None),
        entry("replayed", command(10), 10, None, "replay"),
        entry("older", command(9), 9, None, "replay"),
        entry("forged", bytes(forged), 12, None, "signature"),
        entry("stranger", command(13, STRANGER), 13, None, "unknown-key"),
        entry("release-key", command(14, RELEASE), 14, None, "unknown-key"),
        entry("typ", command(15, typ={1: -19}), 15, None, "typ"),
        entry("audience", command(16, claims={3: "gateway-2"}), 16, None, "audience"),
        entry("nonce", command(17, **late), 17, 2, "nonce"),
        entry("no-nonce", command(18, claims={10: None}), 18, 2, "nonce"),
        entry("opcode", command(19, claims={-65537: ["format", {}]}), 19, 2, "opcode"),
        entry("lifetime", command(20, claims={4: ISSUED + 86401}), 20, None, "malformed"),
        entry("arguments", command(21, claims={-65537: ["ping", []]}), 21, None, "malformed"),
        entry("extra-claim", command(22, claims={1: "me"}), 22, None, "malformed"),
        entry("cut", command(23)[:-1], 23, None, "malformed"),
        {**entry("large", command(24), 24, None, "too-large"), "pad": 1024},
        entry("nonce-again", command(17, **late), 17, None, "replay"),
        entry("opcode-again", command(19, claims={-65537: ["format", {}]}), 19, None, "replay"),
        entry("an-argument-more", command(24, claims={-65537: ["ping", {"echo": 1}]}), 24, 2, "arguments"),
        entry("raises", command(25, claims={-65537: ["broken", {}]}), 25, 1, None),
        entry("ping-again", command(26), 26, 0, None),
        entry("diagnose-key", command(5, DIAGNOSE), 5, 0, None),  # each key has its own counter
        entry("diagnose-key-replayed", command(5, DIAGNOSE), 5, None, "replay"),
        entry("diagnose-key-reboots", command(6, DIAGNOSE, claims={-65537: ["reboot", {}]}), 6, 2, "role"),
        entry("diagnose-key-raises", command(7, DIAGNOSE, claims={-65537: ["broken", {}]}), 7, 2, "role"),
        entry("diagnose-key-no-nonce", command(8, DIAGNOSE, claims={10: None}), 8, 2, "nonce"),
        entry("dangerous", command(27, claims={-65537: ["explode", {}]}), 27, 2, "dangerous"),
        entry("argument", command(28, claims={-65537: ["valve.set", {"percent": 40}]}), 28, 0, None),
        entry("argument-above", command(29, claims={-65537: ["valve.set", {"percent": 101}]}), 29, 2, "arguments"),
        entry("argument-type", command(30, claims={-65537: ["valve.set", {"percent": True}]}), 30, 2, "arguments"),
        entry("argument-missing", command(31, claims={-65537: ["valve.set", {}]}), 31, 2, "arguments"),
        entry("proof", command(32, claims={-65538: True, -65537: ["valve.set", {"percent": 7}]}), 32, 0, None),
        entry("proof-false", command(33, claims={-65538: False}), 33, None, "malformed"),
    ]


def asked() -> list[dict]:
    """Good commands of one key, for an opcode that each test fills with something else; heavy: of another opcode."""
    names = ["try"] * 24 + ["try.heavy"] * 2
    requests = [(100 + n, {-65537: [name, {}]}) for n, name in enumerate(names)]
    return [
        {"opcode": what[-65537][0], "cti": struct.pack(">Q", n).hex(), "data": command(n, claims=what).hex()}
        for n, what in requests
    ]


def payloads() -> list[dict]:
    pairs = [(1, 2), (1, 4), (2, 4), (3, 4), (2, 3)]
    out = [
        {"kind": "image", "number": n, "data": image(n).hex(), "digest": sha256(image(n)).hex()} for n in range(1, 5)
    ]
    for old, new in pairs:
        data = patch(image(old), image(new))
        out.append({"kind": "patch", "old": old, "new": new, "data": data.hex(), "digest": sha256(data).hex()})
    out += [
        {"kind": "data", "number": n, "data": table.hex(), "digest": sha256(table).hex()} for n, table in TABLES.items()
    ]
    return out


def main() -> None:
    for name, lines in (
        ("wire", [setup(), *envelopes(), *data_components()]),
        ("wire_commands", [setup(), *commands()]),
        ("wire_asked", asked()),
        ("wire_payloads", payloads()),
    ):
        text = "[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]\n"
        (HERE / f"{name}.json").write_text(text)
        print(f"{name}.json: {len(lines)} entries, {len(text)} bytes")


if __name__ == "__main__":
    main()
