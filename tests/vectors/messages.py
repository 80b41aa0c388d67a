"""What devices say, as bytes and as the host reads it; trust stores; ids; SenML."""

from __future__ import annotations

from typing import Any

from common import BOARD, CLASS_ID, COMMAND, NONCE, PRODUCT, RELEASE, RELEASE_2, ROOT, STORE, VENDOR, VENDOR_ID, digest

from tidegate import manifest
from tidegate.trust import keys
from tidegate.trust import store as trust_store
from tidegate.wire import cbor, cose
from tidegate.wire.messages import WAITING

wrap = cbor.dumps
CTI = bytes.fromhex("00066085f1c3a001")


def messages() -> list[dict[str, Any]]:
    """kind, message, and "value" as tidegate.wire.messages decodes it, or the reason it is refused for."""
    out: list[dict[str, Any]] = []

    def good(kind: str, name: str, raw: dict[int, Any], value: dict[str, Any]) -> None:
        out.append({"kind": kind, "name": name, "message": wrap(raw).hex(), "value": value})

    def bad(kind: str, name: str, raw: Any) -> None:
        data = raw if isinstance(raw, bytes) else wrap(raw)
        out.append({"kind": kind, "name": name, "message": data.hex(), "reason": "malformed"})

    born = {
        1: 1,
        2: BOARD,
        3: PRODUCT,
        4: "1.6.0",
        5: 6,
        6: digest("image 6"),
        7: NONCE,
        8: "power-on",
        9: False,
        10: "1.25.0",
        11: 3,
    }
    value = {
        "protocol": 1,
        "board": BOARD,
        "product": PRODUCT,
        "version": "1.6.0",
        "sequence": 6,
        "digest": digest("image 6").hex(),
        "nonce": NONCE.hex(),
        "reset_cause": "power-on",
        "trial": False,
        "micropython": "1.25.0",
        "trust_version": 3,
    }
    good("birth", "after power-on", born, value)
    held = {"calibration": {"sequence": 4, "digest": digest("table").hex()}}
    good("birth", "with data", {**born, 12: {"calibration": [4, digest("table")]}}, {**value, "data": held})
    good("birth", "of a board with a print", {**born, 14: NONCE}, {**value, "hardware": NONCE.hex()})
    good("birth", "signed", {**born, 15: bytes(range(230))}, {**value, "proof": bytes(range(230)).hex()})
    bad("birth", "a proof that is empty", {**born, 15: b""})
    bad("birth", "a proof of 513 bytes", {**born, 15: bytes(513)})
    bad("birth", "a proof that is text", {**born, 15: "signed"})
    bad("birth", "a print of 7 bytes", {**born, 14: bytes(7)})
    bad("birth", "data without a digest", {**born, 12: {"calibration": [4]}})
    bad("birth", "data of another name", {**born, 12: {"../x": [4, digest("table")]}})
    bad("birth", "without nonce", {label: item for label, item in born.items() if label != 7})
    bad("birth", "a digest of 31 bytes", {**born, 6: bytes(31)})
    good("birth", "with settings", {**born, 13: bytes(range(4))}, {**value, "settings": "00010203"})
    bad("birth", "a digest of settings of 5 bytes", {**born, 13: bytes(5)})
    bad("birth", "settings that are no digest", {**born, 13: "abcd"})
    bad("birth", "an unknown label", {**born, 99: 1})
    bad("birth", "a trial that is a number", {**born, 9: 1})
    bad("birth", "a version of 200 bytes", {**born, 4: "1" * 200})
    bad("birth", "cut off", wrap(born)[:-1])

    good("state", "online", {1: True}, {"online": True})
    good("state", "the will", {1: False}, {"online": False})
    value = {"online": True, "update_state": "downloading", "update_result": "initial"}
    good("state", "while updating", {1: True, 2: 1, 3: 0}, value)
    bad("state", "an unknown state", {1: True, 2: 4, 3: 0})
    bad("state", "empty", {})

    said = {2: NONCE, 4: True, -257: [1, 0], -258: 2, -259: 7}
    named = {
        "nonce": NONCE.hex(),
        "verdict": {"ok": True},
        "lwm2m": {"state": "downloading", "result": "initial", "numbers": [1, 0]},
        "phase": "fetching",
        "sequence": 7,
    }
    good("report", "fetching", said, named)
    more = {99: [[-16, digest("manifest")]], -260: "patch", -261: [512, 4096]}
    progress = {"done": 512, "total": 4096}
    facts = {"manifest": digest("manifest").hex(), "detail": "patch", "progress": progress}
    good("report", "fetching, all told", {**said, **more}, {**named, **facts})
    waits = {"phase": "applying", "lwm2m": {"state": "downloaded", "result": "initial", "numbers": [2, 0]}}
    value = {**named, **waits, "detail": WAITING}
    waiting = {**said, -257: [2, 0], -258: 3, -260: WAITING}
    good("report", "waiting for the application", waiting, value)
    good("report", "waiting for the application for so long", {**waiting, -263: 43200}, {**value, "again": 43200})
    good("report", "of a data component", {**said, -262: "calibration"}, {**named, "component": "calibration"})
    bad("report", "of a component with a bad name", {**said, -262: "Calibration"})
    bad("report", "tried again after no time", {**said, -263: 0})
    bad("report", "tried again after too long", {**said, -263: 1 << 32})
    bad("report", "tried again after true", {**said, -263: True})
    later = {**said, 4: {5: 10, 7: 11}, -257: [0, 7], -258: 9, -263: 75}
    good(
        "report",
        "failed, and tried again",
        later,
        {
            **named,
            "verdict": {"ok": False, "code": 10, "reason": "operation-failed"},
            "lwm2m": {"state": "idle", "result": "invalid-uri", "numbers": [0, 7]},
            "phase": "failed",
            "again": 75,
        },
    )
    failed = {**said, 4: {5: 5, 7: 10}, -257: [0, 6], -258: 8}
    good(
        "report",
        "refused",
        failed,
        {
            **named,
            "verdict": {"ok": False, "code": 5, "reason": "condition-failed"},
            "lwm2m": {"state": "idle", "result": "unsupported-package", "numbers": [0, 6]},
            "phase": "refused",
        },
    )
    bad("report", "phase 0", {**said, -258: 0})
    bad("report", "phase 11", {**said, -258: 11})
    bad("report", "a result that is false", {**said, 4: False})
    bad("report", "SUIT reason 13", {**said, 4: {5: 1, 7: 13}})
    bad("report", "progress of three numbers", {**said, -261: [1, 2, 3]})

    answer = {"heap_free": 71234, "id": b"\x01\x02", "slots": [{"running": True}]}
    told = {"heap_free": 71234, "id": "0102", "slots": [{"running": True}]}
    good("result", "done", {1: CTI, 2: 0, 3: answer}, {"cti": CTI.hex(), "code": "done", "answer": told})
    value = {"cti": CTI.hex(), "code": "refused", "why": "opcode: fly is not offered here"}
    good("result", "refused", {1: CTI, 2: 2, 4: "opcode: fly is not offered here"}, value)
    part = {"cti": CTI.hex(), "code": "running", "part": {"number": 2, "more": True}, "text": "eth0 up\n"}
    good("result", "a part", {1: CTI, 2: 3, 5: [2, True], 6: "eth0 up\n"}, part)
    end = {"cti": CTI.hex(), "code": "done", "part": {"number": 3, "more": False}}
    good("result", "the end of parts", {1: CTI, 2: 0, 5: [3, False]}, end)
    good("result", "signed", {1: CTI, 2: 0, 7: b"proof"}, {"cti": CTI.hex(), "code": "done", "proof": b"proof".hex()})
    bad("result", "a part with a proof", {1: CTI, 2: 3, 5: [0, True], 6: "x", 7: b"proof"})
    bad("result", "a proof that is a number", {1: CTI, 2: 0, 7: 7})
    bad("result", "code 4", {1: CTI, 2: 4})
    bad("result", "a part without its number", {1: CTI, 2: 3, 6: "x"})
    bad("result", "a part without text", {1: CTI, 2: 3, 5: [0, True]})
    bad("result", "a part of 1025 bytes", {1: CTI, 2: 3, 5: [0, True], 6: "x" * 1025})
    bad("result", "a part with an answer", {1: CTI, 2: 3, 3: {}, 5: [0, True], 6: "x"})
    bad("result", "an end with text", {1: CTI, 2: 0, 5: [1, False], 6: "x"})
    bad("result", "an end that says there is more", {1: CTI, 2: 0, 5: [1, True]})
    bad("result", "an answer that is a list", {1: CTI, 2: 0, 3: []})
    bad("result", "a counter of 4 bytes", {1: bytes(4), 2: 0})

    value = {"kind": "command-refused", "reason": "signature", "detail": "wrong", "cti": CTI.hex(), "suppressed": 2}
    good("alarm", "all told", {1: "command-refused", 2: "signature", 3: "wrong", 4: CTI, 5: 2}, value)
    trace = {"kind": "crash", "reason": "ValueError", "trace": "Traceback:\n  x.py"}
    good("alarm", "a crash", {1: "crash", 2: "ValueError", 6: "Traceback:\n  x.py"}, trace)
    bad("alarm", "a trace of 1001 bytes", {1: "crash", 2: "x", 6: "x" * 1001})
    good("alarm", "the least", {1: "crash", 2: "watchdog"}, {"kind": "crash", "reason": "watchdog"})
    bad("alarm", "a kind that is a number", {1: 1, 2: "x"})
    bad("alarm", "not a map", [1, 2])
    return out


def stores() -> list[dict[str, Any]]:
    """Trust stores; "keys" as [role, kid, public], "thresholds" and "revoked", or the reason."""
    out: list[dict[str, Any]] = []

    def good(name: str, store: trust_store.TrustStore) -> None:
        named = [[key.role, key.kid.hex(), key.public.hex()] for key in store.keys]
        facts = {"version": store.version, "keys": named, "thresholds": dict(store.thresholds)}
        revoked = [kid.hex() for kid in store.revoked]
        out.append({"name": name, "store": trust_store.encode(store).hex(), **facts, "revoked": revoked})

    def bad(name: str, value: Any) -> None:
        data = value if isinstance(value, bytes) else wrap(value)
        out.append({"name": name, "store": data.hex(), "reason": "malformed"})

    key = cose.cose_key(RELEASE.public)
    other = cose.cose_key(COMMAND.public)
    many = [cose.cose_key(digest(str(n))) for n in range(9)]

    def of(roles: Any, version: Any = 1, revoked: Any = ()) -> dict[int, Any]:
        return {1: version, 2: roles, 3: list(revoked) if isinstance(revoked, tuple) else revoked}

    good("four keys", STORE)
    good("one key", trust_store.make([RELEASE]))
    diagnose = [keys.from_seed("diagnose", digest(f"diagnose {n}")) for n in range(2)]
    good("diagnose keys", trust_store.make([RELEASE, *diagnose], 2, {"diagnose": 2}))
    good("two of two", trust_store.make([RELEASE, RELEASE_2, ROOT], 7, {"release": 2}))
    good("revoked keys", trust_store.make([RELEASE, ROOT], 2, revoked=[digest("a")[:8], digest("b")[:8]]))
    eight = [keys.from_seed("release", digest(str(n))) for n in range(8)]
    good(
        "as much as fits", trust_store.make(eight, 2**32 - 1, {"release": 4}, [digest(f"r{n}")[:8] for n in range(64)])
    )
    bad("the form without thresholds", {1: 1, 2: [[1, key]]})
    bad("no keys", of({}))
    bad("a role without keys", of({1: [1, []]}))
    bad("no version", {2: {1: [1, [key]]}, 3: []})
    bad("version 0", of({1: [1, [key]]}, 0))
    bad("a version of 33 bits", of({1: [1, [key]]}, 2**32))
    bad("a version that is true", of({1: [1, [key]]}, True))
    bad("no revoked keys", {1: 1, 2: {1: [1, [key]]}})
    bad("a member more", {**of({1: [1, [key]]}), 4: 0})
    bad("role 9", of({9: [1, [key]]}))
    bad("roles in a list", of([[1, [key]]]))
    bad("threshold 0", of({1: [0, [key]]}))
    bad("a threshold above the keys", of({1: [2, [key]]}))
    bad("threshold 5", of({1: [5, many[:8]]}))
    bad("a threshold that is true", of({1: [True, [key]]}))
    bad("a threshold that is a float", of({1: [1.0, [key]]}))
    bad("no threshold", of({1: [[key]]}))
    bad("a short key", of({1: [1, [cose.cose_key(bytes(31))]]}))
    bad("another curve", of({1: [1, [{1: 1, -1: 4, -2: RELEASE.public}]]}))
    bad("a key type that is true", of({1: [1, [{1: True, -1: 6, -2: RELEASE.public}]]}))
    bad("a key with a private part", of({1: [1, [{**key, -4: bytes(32)}]]}))
    bad("nine keys", of({1: [1, many]}))
    bad("nine keys in two roles", of({1: [1, many[:5]], 2: [1, many[5:]]}))
    bad("a key twice in a role", of({1: [1, [key, key]]}))
    bad("a key in two roles", of({1: [1, [key]], 2: [1, [other, key]]}))
    bad("a revoked key in use", of({1: [1, [key]]}, 1, (RELEASE.kid,)))
    bad("a key revoked twice", of({1: [1, [key]]}, 1, (COMMAND.kid, COMMAND.kid)))
    bad("a revoked key of 7 bytes", of({1: [1, [key]]}, 1, (bytes(7),)))
    bad("a revoked key as text", of({1: [1, [key]]}, 1, ("revoked!",)))
    bad("65 revoked keys", of({1: [1, [key]]}, 1, tuple(digest(str(n))[:8] for n in range(65))))
    bad("cut off", trust_store.encode(STORE)[:-1])
    bad("one byte more", trust_store.encode(STORE) + b"\0")
    return out


def ids() -> list[dict[str, str]]:
    """vendor domain, product and board with the UUIDs that manifests and devices must derive from them."""
    out = [{"vendor": "arm.com", "vendor_id": "fa6b4a53d5ad5fdfbe9de663e4d41ffe"}]  # the draft's own example
    for vendor, product, board in ((VENDOR, PRODUCT, BOARD), (VENDOR, PRODUCT, "unix"), ("v.example", "p" * 64, "b")):
        vendor_id = manifest.vendor_id(vendor)
        class_id = manifest.class_id(vendor_id, product, board)
        entry = {"vendor": vendor, "vendor_id": vendor_id.hex()}
        out.append({**entry, "product": product, "board": board, "class_id": class_id.hex()})
    assert out[1]["class_id"] == CLASS_ID.hex() and out[1]["vendor_id"] == VENDOR_ID.hex()
    return out


def packs() -> list[dict[str, Any]]:
    """SenML packs with the records they resolve to when received at "now"."""
    base = "urn:dev:org:tidegate:gate-7:"
    now = 1_795_000_000
    out: list[dict[str, Any]] = []

    def good(name: str, raw: list[dict[int, Any]], records: list[dict[str, Any]]) -> None:
        out.append({"name": name, "pack": wrap(raw).hex(), "now": now, "records": records})

    def bad(name: str, raw: Any) -> None:
        out.append({"name": name, "pack": wrap(raw).hex(), "now": now, "reason": "malformed"})

    good(
        "a device without a clock",
        [{-2: base, 0: "temperature", 1: "Cel", 2: 21.5}, {0: "uptime", 1: "s", 2: 3600, 6: -2}],
        [
            {"name": base + "temperature", "time": now, "unit": "Cel", "value": 21.5},
            {"name": base + "uptime", "time": now - 2, "unit": "s", "value": 3600},
        ],
    )
    good(
        "base values and all kinds of values",
        [
            {-2: base, -3: 1_790_000_000, -4: "V", -5: 10, 0: "a", 2: 0.25},
            {0: "b", 3: "open", 6: 5},
            {0: "c", 4: True},
            {0: "d", 8: b"\x01\xff"},
            {0: "e", 5: 4},
        ],
        [
            {"name": base + "a", "time": 1_790_000_000, "unit": "V", "value": 10.25},
            {"name": base + "b", "time": 1_790_000_005, "unit": "V", "text": "open"},
            {"name": base + "c", "time": 1_790_000_000, "unit": "V", "bool": True},
            {"name": base + "d", "time": 1_790_000_000, "unit": "V", "data": "01ff"},
            {"name": base + "e", "time": 1_790_000_000, "unit": "V", "sum": 4},
        ],
    )
    bad("no record", [])
    bad("65 records", [{0: "a", 2: 1}] * 65)
    bad("no name", [{2: 1}])
    bad("a name with a space", [{0: "a b", 2: 1}])
    bad("two values", [{0: "a", 2: 1, 3: "x"}])
    bad("no value", [{0: "a", 1: "V"}])
    bad("a value that is text", [{0: "a", 2: "1"}])
    good("a label of the future", [{0: "a", 2: 1, 9: 1}], [{"name": "a", "time": now, "value": 1}])
    bad("a label that must be understood", [{0: "a", 2: 1, "x_": 1}])
    bad("not an array", {0: "a", 2: 1})
    return out
