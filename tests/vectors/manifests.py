"""Envelopes, good and bad, for one device; each with what the host and the device must say to it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any

from cbor2 import CBORTag
from common import BOARD, CLASS_ID, COMMAND, PRODUCT, RELEASE, RELEASE_2, STORE, STRANGER, VENDOR, VENDOR_ID, digest

from tidegate import manifest
from tidegate.manifest import profile
from tidegate.trust import store
from tidegate.trust.keys import Key
from tidegate.wire import cbor, cose

RUNNING = manifest.Image(digest("image 5"), 61440)
FLOOR = 5  # highest sequence number the device has confirmed
SLOT_SIZE = 126 * 4096
NEW = manifest.Image(digest("image 6"), 62000)
_L = 2**252 + 27742317777372353535851937790883648493  # order of the group, RFC 8032 section 5.1

wrap = cbor.dumps


def facts(sequence: int = 6, patches: int = 0, fits: int | None = None, **changes: Any) -> manifest.Manifest:
    """A manifest with `patches` patches, of which number `fits` starts from the running image."""
    made = tuple(
        manifest.Patch(
            RUNNING.digest if n == fits else digest(f"base {n}"),
            RUNNING.size if n == fits else 50000 + n,
            digest(f"patch {n}"),
            1000 + n,
        )
        for n in range(patches)
    )
    values = {"sequence": sequence, "version": f"1.{sequence}.0", "vendor_id": VENDOR_ID, "class_id": CLASS_ID}
    return manifest.Manifest(**{**values, "image": NEW, "patches": made, **changes})


def tree(source: manifest.Manifest) -> dict[int, Any]:
    """The manifest as open structures, to be changed: members unwrapped."""
    value = cbor.loads(manifest.encode(source))
    value[3] = cbor.loads(value[3])
    value[3][4] = cbor.loads(value[3][4])
    for member in (7, 20, 23):
        value[member] = cbor.loads(value[member])
    if value[20][0] == 15:
        value[20][1] = [cbor.loads(branch) for branch in value[20][1]]
    return value


def fold(value: dict[int, Any]) -> bytes:
    """The reverse of `tree`."""
    value = copy.deepcopy(value)
    if isinstance(value.get(20), list) and value[20][:1] == [15]:
        value[20][1] = [branch if branch is None else wrap(branch) for branch in value[20][1]]
    if isinstance(value.get(3), dict):
        if 4 in value[3]:
            value[3][4] = wrap(value[3][4])
        value[3] = wrap(value[3])
    for member in (7, 8, 20, 23):
        if member in value:
            value[member] = wrap(value[member])
    return wrap(value)


def envelope(body: bytes, *signers: Key, signatures: list[bytes] | None = None) -> bytes:
    """An envelope around any bytes, signed by any key."""
    signed = profile.wrap_digest(hashlib.sha256(wrap(body)).digest())
    if signatures is None:
        signatures = [cose.sign1(key.private or b"", signed, detached=True) for key in signers or (RELEASE,)]
    return wrap(CBORTag(107, {2: wrap([signed, *signatures]), 3: body}))


def changed(change: Callable[[dict[int, Any]], Any], source: manifest.Manifest | None = None) -> bytes:
    """A signed envelope whose manifest was changed by `change` before signing."""
    value = tree(source or facts(patches=1, fits=0))
    change(value)
    return envelope(fold(value))


def resigned(change: Callable[[list[Any]], None], headers: dict[int, Any] | None = None) -> bytes:
    """An envelope whose one COSE_Sign1 was changed by `change` ([protected, unprotected, payload, signature])."""
    body = manifest.encode(facts())
    signed = profile.wrap_digest(hashlib.sha256(wrap(body)).digest())
    sign1 = cbor.loads(cose.sign1(RELEASE.private or b"", signed, detached=True, headers=headers), tags=frozenset({18}))
    change(sign1.value)
    return envelope(body, signatures=[wrap(sign1)])


def setup() -> dict[str, Any]:
    """The device that the verdicts are of, and what it runs."""
    running = {"digest": RUNNING.digest.hex(), "size": RUNNING.size, "sequence": FLOOR}
    return {
        "kind": "setup",
        "trust": store.encode(STORE).hex(),
        "vendor": VENDOR,
        "product": PRODUCT,
        "board": BOARD,
        "sequence_floor": FLOOR,
        "slot_size": SLOT_SIZE,
        "running": running,
    }


def cases() -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    _good(out)
    _policy(out)
    _form(out)
    _signature(out)
    _profile(out)
    _install(out)
    return out


def _put(out: list[dict[str, Any]], name: str, data: bytes, host: str | None, device: str, **more: Any) -> None:
    """host: its word of refusal, None if it accepts; device: its verdict; more: what the device decides or its word."""
    verdict = {"verdict": "accept"} if host is None else {"verdict": "refuse", "reason": host}
    out.append({"name": name, "envelope": data.hex(), "host": verdict, "device": {"verdict": device, **more}})


def _good(out: list[dict[str, Any]]) -> None:
    def put(name: str, source: manifest.Manifest, signers: list[Key], takes: str = "image") -> None:
        chosen = {"image": (source.image.digest, source.image.size)}
        chosen |= {f"patch {n}": (patch.digest, patch.size) for n, patch in enumerate(source.patches)}
        payload, size = chosen[takes]
        expect = {
            "sequence": source.sequence,
            "digest": source.image.digest.hex(),
            "size": source.image.size,
            "payload": payload.hex(),
            "payload_size": size,
            "patch": takes != "image",
        }
        data = envelope(manifest.encode(source), *signers)
        _put(out, name, data, None, "accept", expect=expect)

    put("the full image alone", facts(), [RELEASE])
    put("one patch that fits", facts(patches=1, fits=0), [RELEASE], "patch 0")
    put("one patch for another base", facts(patches=1), [RELEASE])
    put("three patches, the second fits", facts(patches=3, fits=1), [RELEASE], "patch 1")
    put("eight patches, the last fits", facts(patches=8, fits=7), [RELEASE], "patch 7")
    put("eight patches, none fits", facts(patches=8), [RELEASE])
    put("the other release key", facts(), [RELEASE_2])
    put("both release keys", facts(), [RELEASE, RELEASE_2])
    put("a stranger's signature before a good one", facts(), [STRANGER, RELEASE])
    put("four signatures", facts(), [STRANGER, COMMAND, RELEASE, RELEASE_2])
    put("the release to come from runs", facts(needs=manifest.Needs(FLOOR)), [RELEASE])
    put("an older release to come from, and a MicroPython", facts(needs=manifest.Needs(1, "1.20.1")), [RELEASE])
    put("a restart that waits two hours at most", facts(restart_s=7200), [RELEASE])
    put("a sequence number far ahead", facts(sequence=2**32 - 1), [RELEASE])


def _policy(out: list[dict[str, Any]]) -> None:
    """Well-made manifests that this device must not install."""

    def put(name: str, reason: str, **changes: Any) -> None:
        _put(out, name, envelope(manifest.encode(facts(**changes))), None, "refuse", reason=reason)

    put("older than what was confirmed", "older", sequence=FLOOR - 1)
    put("as old as what runs, another image", "older", sequence=FLOOR)
    put("another vendor", "wrong-board", vendor_id=manifest.vendor_id("elsewhere.example"))
    put("another board", "wrong-board", class_id=manifest.class_id(VENDOR_ID, "tidegate-gateway", "unix"))
    put("another product", "wrong-board", class_id=manifest.class_id(VENDOR_ID, "other", "qemu_mps2"))
    put("an image larger than the slot", "no-space", image=manifest.Image(NEW.digest, SLOT_SIZE + 1))
    needs = manifest.Needs
    put("a release to come from, which runs is older", "needs", sequence=8, needs=needs(sequence=FLOOR + 1))
    put("a MicroPython that no board has yet", "needs", needs=needs(micropython="99.0"))
    same = facts(sequence=FLOOR, image=RUNNING)
    _put(out, "what runs already", envelope(manifest.encode(same)), None, "current")


def _form(out: list[dict[str, Any]]) -> None:
    good = envelope(manifest.encode(facts(patches=1, fits=0)))
    body = manifest.encode(facts())

    def put(name: str, data: bytes, reason: str = "malformed") -> None:
        _put(out, name, data, reason, "refuse")

    put("nothing", b"")
    for size in (1, 2, 10, len(good) // 2, len(good) - 1):
        put(f"cut off after {size} bytes", good[:size])
    put("one byte more", good + b"\0")
    put("2049 bytes", good + bytes(2049 - len(good)), "too-large")
    put("text, not CBOR", b"GET /p/ HTTP/1.1\r\n\r\n")
    put("a map without the tag", good[2:])
    put("another tag", b"\xd8\x6c" + good[2:])
    put("the tag twice", b"\xd8\x6b" + good)
    put("the tag in a long head", b"\xd9\x00\x6b" + good[2:])
    put("a map of indefinite length", b"\xd8\x6b\xbf" + good[3:] + b"\xff")
    put("ten thousand claimed members", b"\xd8\x6b\xb9\x27\x10" + good[3:])
    put("a string longer than the message", b"\xd8\x6b\xa1\x02\x5a\xff\xff\xff\xff")
    put("arrays in arrays", b"\xd8\x6b\xa1\x02" + b"\x81" * 300)
    inner = cbor.loads(good, tags=frozenset({107})).value
    put("without wrapper", wrap(CBORTag(107, {3: inner[3]})))
    put("without manifest", wrap(CBORTag(107, {2: inner[2]})))
    put("a member beyond the profile", wrap(CBORTag(107, {**inner, 16: b"\x80"})))
    put("an integrated payload", wrap(CBORTag(107, {**inner, "#image": b"x"})))
    put("the manifest is a map, not a string", wrap(CBORTag(107, {2: inner[2], 3: {1: 1}})))
    put("members in the wrong order", b"\xd8\x6b\xa2\x03" + wrap(inner[3]) + b"\x02" + wrap(inner[2]))
    put("a member twice", b"\xd8\x6b\xa3\x02" + wrap(inner[2]) + b"\x02" + wrap(inner[2]) + b"\x03" + wrap(inner[3]))
    put("no signature", envelope(body, signatures=[]))
    put("five signatures", envelope(body, *[RELEASE] * 5))
    put("the manifest is empty", envelope(b""))
    put("the manifest is cut off", envelope(body[:-1]))
    put("the manifest has bytes after its end", envelope(body + b"\0"))
    put("the manifest has members in the wrong order", envelope(b"\xa6\x02\x06\x01\x01" + body[5:]))
    put("the manifest has a number in a long head", envelope(b"\xa6\x01\x18\x01" + body[3:]))
    put("the manifest has a member twice", envelope(b"\xa7\x01\x01" + body[1:]))


def _signature(out: list[dict[str, Any]]) -> None:
    body = manifest.encode(facts())
    good = envelope(body)

    def put(name: str, data: bytes, host: str, **device: Any) -> None:
        _put(out, name, data, host, "refuse", **device)

    put("a stranger's key", envelope(body, STRANGER), "unknown-key", reason="unknown-key")
    put("a command key", envelope(body, COMMAND), "unknown-key", reason="unknown-key")
    put("one letter of the manifest changed", good.replace(b"1.6.0", b"1.7.0"), "signature", reason="signature")

    def flip(index: int, bit: int) -> Callable[[list[Any]], None]:
        def change(parts: list[Any]) -> None:
            data = bytearray(parts[3])
            data[index] ^= 1 << bit
            parts[3] = bytes(data)

        return change

    for index, bit in ((0, 0), (31, 7), (32, 0), (63, 4)):
        put(f"bit {bit} of signature byte {index} flipped", resigned(flip(index, bit)), "signature", reason="signature")

    def add_order(parts: list[Any]) -> None:
        s = int.from_bytes(parts[3][32:], "little") + _L
        parts[3] = parts[3][:32] + s.to_bytes(32, "little")

    put("S + L", resigned(add_order), "signature", reason="signature")
    put(
        "the key id of another key",
        resigned(lambda p: p[1].update({4: RELEASE_2.kid})),
        "signature",
        reason="signature",
    )
    put("a good one and a broken one", _good_and_broken(body), "signature", reason="signature")
    put("a signature of 63 bytes", resigned(lambda p: p.__setitem__(3, p[3][:63])), "malformed")
    put("a signature of 65 bytes", resigned(lambda p: p.__setitem__(3, p[3] + b"\0")), "malformed")
    put("no key id", resigned(lambda p: p[1].clear()), "malformed")
    put("a key id of 4 bytes", resigned(lambda p: p[1].update({4: RELEASE.kid[:4]})), "malformed")
    put("a key id of 9 bytes", resigned(lambda p: p[1].update({4: RELEASE.kid + b"\0"})), "malformed")
    put("an unprotected header more", resigned(lambda p: p[1].update({5: b"iv"})), "malformed")
    put("the payload attached", resigned(lambda p: p.__setitem__(2, b"\x82")), "malformed")
    put("algorithm -8", resigned(lambda p: p.__setitem__(0, wrap({1: -8}))), "unsupported", reason="unsupported")
    put("no algorithm", resigned(lambda p: p.__setitem__(0, b"")), "malformed")
    put("a critical header", resigned(lambda p: None, headers={2: [99]}), "malformed")
    put("a protected header more", resigned(lambda p: None, headers={3: 0}), "malformed")
    put("a CWT's type", resigned(lambda p: None, headers={16: 61}), "malformed")
    signed = profile.wrap_digest(hashlib.sha256(wrap(body)).digest())
    twice = cose.sign1(RELEASE.private or b"", wrap(signed), detached=True)
    put("the digest signed with a string head", envelope(body, signatures=[twice]), "signature", reason="signature")
    headless = profile.wrap_digest(hashlib.sha256(body).digest())
    one = cose.sign1(RELEASE.private or b"", headless, detached=True)
    put("the digest without the manifest's head", wrap(CBORTag(107, {2: wrap([headless, one]), 3: body})), "signature")
    other = wrap([-44, digest("x") + digest("y")])
    one = cose.sign1(RELEASE.private or b"", other, detached=True)
    put("a SHA-512 digest", wrap(CBORTag(107, {2: wrap([other, one]), 3: body})), "malformed")


def _good_and_broken(body: bytes) -> bytes:
    signed = profile.wrap_digest(hashlib.sha256(wrap(body)).digest())
    good = cose.sign1(RELEASE.private or b"", signed, detached=True)
    broken = cose.sign1(RELEASE_2.private or b"", signed + b"x", detached=True)
    return envelope(body, signatures=[good, broken])


def _profile(out: list[dict[str, Any]]) -> None:
    """Manifests that are rightly signed and leave the profile: a key must not make the device do new things."""

    def put(name: str, change: Callable[[dict[int, Any]], Any]) -> None:
        _put(out, name, changed(change), "malformed", "refuse")

    put("structure version 2", lambda m: m.update({1: 2}))
    put("structure version true", lambda m: m.update({1: True}))
    put("a negative sequence number", lambda m: m.update({2: -7}))
    put("a sequence number of 33 bits", lambda m: m.update({2: 2**32}))
    put("a sequence number that is text", lambda m: m.update({2: "7"}))
    put("a sequence number that is true", lambda m: m.update({2: True}))
    put("a load section", lambda m: m.update({8: [3, 15]}))
    put("no common section", lambda m: m.pop(3))
    put("no validate section", lambda m: m.pop(7))
    put("no install section", lambda m: m.pop(20))
    put("the install section severed", lambda m: m.update({20: [-16, digest("install")]}))
    put("common as a map", lambda m: m.update({3: b"\xa0"}))
    put("no components", lambda m: m[3].update({2: []}))
    put("an unknown component", lambda m: m[3].update({2: [[b"boot"], [b"run"]]}))
    put("a dependency", lambda m: m[3].update({1: {}}))
    put("no vendor condition", lambda m: m[3].update({4: m[3][4][:4] + [2, 15]}))
    put("no class condition", lambda m: m[3].update({4: m[3][4][:6]}))
    put("no image digest", lambda m: m[3][4][3].pop(3))
    put("no image size", lambda m: m[3][4][3].pop(14))
    put("a negative image size", lambda m: m[3][4][3].update({14: -1}))
    put("a digest of 31 bytes", lambda m: m[3][4][3].update({3: wrap([-16, bytes(31)])}))
    put("a digest that is no SHA-256", lambda m: m[3][4][3].update({3: wrap([-44, bytes(64)])}))
    put("a digest that is not wrapped", lambda m: m[3][4][3].update({3: [-16, bytes(32)]}))
    put("a vendor id of 15 bytes", lambda m: m[3][4][3].update({1: VENDOR_ID[:15]}))
    put("an unknown parameter", lambda m: m[3][4][3].update({5: 0}))
    put("encryption", lambda m: m[3][4][3].update({19: b"\xd0"}))
    put("a custom parameter", lambda m: m[3][4][3].update({-300: 1}))
    put("a custom command in the shared sequence", lambda m: m[3][4].extend([-300, 15]))
    put("a reporting policy of 16", lambda m: m[3][4].__setitem__(5, 16))
    put("a reporting policy that is true", lambda m: m[3][4].__setitem__(5, True))
    put("a command that is true", lambda m: m[3][4].__setitem__(4, True))
    put("half a command", lambda m: m[3][4].append(1))
    put("a fetch in the shared sequence", lambda m: m[3][4].extend([21, 15]))


def _install(out: list[dict[str, Any]]) -> None:
    def put(name: str, change: Callable[[dict[int, Any]], Any], **device: Any) -> None:
        _put(out, name, changed(change), "malformed", "refuse", **device)

    def branch(m: dict[int, Any]) -> list[Any]:
        return m[20][1][0]

    def target(m: dict[int, Any]) -> dict[int, Any]:
        return branch(m)[9]

    def full(name: bytes) -> list[Any]:
        return [12, 0, 20, {21: "p/" + name.hex()}, 21, 15, 3, 15]

    put("no folder of payloads", lambda m: m[3][4][3].pop(21))
    put("another folder of payloads", lambda m: m[3][4][3].update({21: "q/"}))
    put("install does nothing", lambda m: m.update({20: []}))
    put("install does not fetch", lambda m: m.update({20: [3, 15]}))
    put("install is no list", lambda m: m.update({20: {1: 1}}))
    # "late": a device that runs the commands one by one finds these after the fetch, and before it switches.
    put("install writes content", lambda m: m[20].extend([18, 15]), late=True)
    put("install copies", lambda m: m[20].extend([22, 15]), late=True)
    put("install invokes", lambda m: m[20].extend([23, 15]), late=True)
    put("install fetches twice", lambda m: m[20].extend([21, 15]), late=True)
    put("component index 2", lambda m: m[20].__setitem__(3, 2))
    put("component index true", lambda m: m[20].__setitem__(3, True))
    put("fetches into the running slot", lambda m: m[20].__setitem__(3, 1))
    put("no branch", lambda m: m[20].__setitem__(1, []))
    put("ten branches", lambda m: m[20].__setitem__(1, [branch(m)] * 10))
    put("a branch that is nil", lambda m: m[20].__setitem__(1, [None, None]))
    put("patch format 2", lambda m: target(m).update({25: wrap({1: 2, 2: 1, 3: 1000, 4: digest("patch 0")})}))
    put(
        "the base is the next slot", lambda m: target(m).update({25: wrap({1: 1, 2: 0, 3: 1000, 4: digest("patch 0")})})
    )
    put("a patch of no bytes", lambda m: target(m).update({25: wrap({1: 1, 2: 1, 3: 0, 4: digest("patch 0")})}))
    put("a patch digest of 31 bytes", lambda m: target(m).update({25: wrap({1: 1, 2: 1, 3: 1000, 4: bytes(31)})}))
    put("fetch arguments that lack one", lambda m: target(m).update({25: wrap({1: 1, 2: 1, 3: 1000})}))
    put("fetch arguments that are no map", lambda m: target(m).update({25: b"\x80"}))
    put("fetch arguments that are damaged", lambda m: target(m).update({25: b"\xa4\x01"}))
    put("a patch with its digest in the address", lambda m: target(m).update({21: "p/" + digest("patch 0").hex()}))
    put("an address that is the root", lambda m: target(m).update({21: "/"}))
    put("the image named by another digest", lambda m: m.update({20: full(digest("patch 0"))}))
    put("the image without its name", lambda m: m.update({20: [12, 0, 20, {21: "p/"}, 21, 15, 3, 15]}))
    put("an address with a host", lambda m: target(m).update({21: "http://elsewhere.example/p"}))
    put("an address that climbs", lambda m: target(m).update({21: "p/../" + digest("patch 0").hex()}))
    put("an address of no bytes", lambda m: target(m).update({21: ""}))
