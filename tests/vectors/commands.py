"""Commands, good and bad, for one device without a clock, and some for a host that has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common import COMMAND, DEVICE, NONCE, RELEASE, STORE, STRANGE_COMMAND

from tidegate.commands import cwt
from tidegate.trust import store
from tidegate.trust.keys import Key
from tidegate.wire import cbor, cose

ISSUED = 1_795_000_000  # November 2026
LAST = (ISSUED * 1_000_000).to_bytes(8, "big")  # highest counter the device has seen from the command key
CTI = (ISSUED * 1_000_000 + 1).to_bytes(8, "big")

wrap = cbor.dumps


def claims(**changes: Any) -> dict[int, Any]:
    """The claims of a good command; `changes` by the labels' names, None removes one."""
    labels = {"aud": 3, "exp": 4, "iat": 6, "cti": 7, "nonce": 10, "request": -65537}
    value = {"aud": DEVICE, "exp": ISSUED + 300, "iat": ISSUED, "cti": CTI, "nonce": NONCE, "request": ["info", {}]}
    return {labels[name]: item for name, item in {**value, **changes}.items() if item is not None}


def signed(value: Any, key: Key = COMMAND, headers: dict[int, Any] | None = None) -> bytes:
    payload = value if isinstance(value, bytes) else wrap(value)
    return cose.sign1(key.private or b"", payload, headers={16: 61} if headers is None else headers)


def resigned(change: Callable[[list[Any]], None]) -> bytes:
    sign1 = cbor.loads(signed(claims()), tags=frozenset({18}))
    change(sign1.value)
    return wrap(sign1)


def setup() -> dict[str, Any]:
    """The device that the verdicts are of: its id, nonce, and the highest counter it has seen."""
    last = {"kid": COMMAND.kid.hex(), "cti": LAST.hex()}
    return {
        "kind": "setup",
        "trust": store.encode(STORE).hex(),
        "device": DEVICE,
        "nonce": NONCE.hex(),
        "last": last,
    }


def cases() -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []

    def put(name: str, data: bytes, reason: str | None = None, now: int | None = None, **more: Any) -> None:
        """`now` None: judged by a device without a clock, so by host and device; else by the host alone."""
        verdict = {"verdict": "accept"} if reason is None else {"verdict": "refuse", "reason": reason}
        out.append({"name": name, "command": data.hex(), "now": now, **verdict, **more})

    def request(opcode: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"expect": {"opcode": opcode, "arguments": arguments, "cti": CTI.hex()}}

    put("info", signed(claims()), **request("info", {}))
    put(
        "reboot with an argument",
        signed(claims(request=["reboot", {"delay_s": 5}])),
        **request("reboot", {"delay_s": 5}),
    )
    many = {"text": "ü", "yes": True, "none": None, "list": [1, -1, 0.5]}
    put("ping with all sorts of arguments", signed(claims(request=["ping", many])), **request("ping", many))
    put("a life of a day", signed(claims(exp=ISSUED + 86400)), **request("info", {}))
    room = cwt.MAX_SIZE - len(signed(claims(request=["ping", {"echo": "x" * 700}]))) + 700
    full = {"echo": "x" * room}
    put("1024 bytes", signed(claims(request=["ping", full])), **request("ping", full))

    put("a result that is to be signed", signed({**claims(), -65538: True}), **request("info", {}))
    put("a wish for a signed result that is false", signed({**claims(), -65538: False}), "malformed")
    put("a wish for a signed result that is a number", signed({**claims(), -65538: 1}), "malformed")
    put("1025 bytes", signed(claims(request=["ping", {"echo": "x" * (room + 1)}])), "too-large")
    good = signed(claims())
    put("nothing", b"", "malformed")
    for size in (1, 8, 60, len(good) - 1):
        put(f"cut off after {size} bytes", good[:size], "malformed")
    put("one byte more", good + b"\0", "malformed")
    put("without the tag", good[1:], "malformed")
    put("detached", resigned(lambda p: p.__setitem__(2, None)), "malformed", device_reason="typ")
    put("no key id", resigned(lambda p: p[1].clear()), "malformed", device_reason="unknown-key")
    for label, value in ((99, "not signed"), (5, b"iv"), (16, 61), (-1, 0)):
        put(f"an unprotected header {label}", resigned(lambda p, k=label, v=value: p[1].update({k: v})), "malformed")  # type: ignore[misc]
    put("another header instead of the key id", resigned(lambda p: p.__setitem__(1, {5: b"iv"})), "malformed")
    put("a key id of 9 bytes", resigned(lambda p: p[1].update({4: COMMAND.kid + b"\0"})), "malformed")
    put("a key id that is text", resigned(lambda p: p[1].update({4: "command!"})), "malformed")
    put("algorithm -8", resigned(lambda p: p.__setitem__(0, wrap({1: -8, 16: 61}))), "unsupported", device_reason="typ")
    put("no type", signed(claims(), headers={}), "typ")
    put("another type", signed(claims(), headers={16: 18}), "typ")
    put("a protected header more", signed(claims(), headers={16: 61, 3: 0}), "typ")
    put("a stranger's key", signed(claims(), STRANGE_COMMAND), "unknown-key")
    put("a release key", signed(claims(), RELEASE), "unknown-key")

    def flip(parts: list[Any]) -> None:
        parts[3] = bytes([parts[3][0] ^ 1]) + parts[3][1:]

    put("one bit of the signature flipped", resigned(flip), "signature")
    other = wrap(claims(request=["reboot", {}]))
    put("another request under the signature", resigned(lambda p: p.__setitem__(2, other)), "signature")
    put("another device", signed(claims(aud="gate-8")), "audience")
    put("a counter used before", signed(claims(cti=LAST)), "replay")
    put("a counter below", signed(claims(cti=bytes(8))), "replay")
    put("no nonce", signed(claims(nonce=None)), "nonce")
    put("the nonce of another boot", signed(claims(nonce=bytes(8))), "nonce")

    put("claims that are no map", signed([1]), "malformed")
    put("claims out of order", signed(_out_of_order()), "malformed")
    put("no audience", signed(claims(aud=None)), "malformed")
    put("no expiry", signed(claims(exp=None)), "malformed")
    put("no issue time", signed(claims(iat=None)), "malformed")
    put("no counter", signed(claims(cti=None)), "malformed")
    put("no request", signed(claims(request=None)), "malformed")
    put("a claim more", signed({**claims(), 1: "issuer"}), "malformed")
    put("a counter of 7 bytes", signed(claims(cti=CTI[1:])), "malformed")
    put("a counter that is a number", signed(claims(cti=7)), "malformed")
    put("a nonce of 7 bytes", signed(claims(nonce=NONCE[1:])), "malformed")
    put("an audience that is bytes", signed(claims(aud=DEVICE.encode())), "malformed")
    put("an expiry that is text", signed(claims(exp="never")), "malformed")
    put("a negative issue time", signed(claims(iat=-1)), "malformed")
    put("a life above a day", signed(claims(exp=ISSUED + 86401)), "malformed")
    put("a life of no second", signed(claims(exp=ISSUED)), "malformed")
    put("expires before it was issued", signed(claims(exp=ISSUED - 1)), "malformed")
    put("a request of one part", signed(claims(request=["info"])), "malformed")
    put("a request of three parts", signed(claims(request=["info", {}, 1])), "malformed")
    put("an opcode that is a number", signed(claims(request=[1, {}])), "malformed")
    put("arguments that are a list", signed(claims(request=["info", []])), "malformed")
    put("an argument named by a number", signed(claims(request=["info", {1: 1}])), "malformed")

    put("a clock, in time", signed(claims(nonce=None)), now=ISSUED + 299, **request("info", {}))
    put("a clock, a little behind", signed(claims(nonce=None)), now=ISSUED - 120, **request("info", {}))
    put("a clock, too late", signed(claims()), "expired", now=ISSUED + 300)
    put("a clock, from the future", signed(claims()), "time", now=ISSUED - 121)
    return out


def _out_of_order() -> bytes:
    """The claims with the first two members exchanged: right in every way but for the order."""
    value = claims()
    members = [wrap(label) + wrap(value[label]) for label in (4, 3, 6, 7, 10, -65537)]
    return bytes([0xA0 | len(members)]) + b"".join(members)
