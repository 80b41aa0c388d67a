"""Rotations of the trust store as data: from which store, which updates in order, what a device says to each.

The sequences are those that The Update Framework's own tests try on its root role (thresholds up and down, all keys
replaced, the old or the new quorum missing), and what is ours: versions, revoked keys, roles, types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cbor2 import CBORTag
from common import COMMAND, DEVICE, NONCE, RELEASE, RELEASE_2, STRANGER, seed

from tidegate import manifest
from tidegate.commands import cwt
from tidegate.trust import keys, rotation
from tidegate.trust import store as trust_store
from tidegate.trust.keys import Key
from tidegate.wire import cbor, cose

A, B, C, D, E, F = (keys.from_seed("root", seed(f"root {name}")) for name in "abcdef")
G, H, K, L = (keys.from_seed("root", seed(f"root {name}")) for name in "ghkl")
RELEASE_3 = keys.from_seed("release", seed("release 3"))
COMMAND_2 = keys.from_seed("command", seed("command 2"))
COMMAND_3 = keys.from_seed("command", seed("command 3"))
GOOD = "accept"

Step = tuple[bytes, str]


def store(
    version: int,
    roots: Sequence[Key],
    threshold: int = 1,
    *,
    others: Sequence[Key] = (RELEASE,),
    revoked: Iterable[Key] = (),
    **thresholds: int,
) -> trust_store.TrustStore:
    return trust_store.make([*roots, *others], version, {"root": threshold, **thresholds}, [key.kid for key in revoked])


def update(new: trust_store.TrustStore, signers: Sequence[Key]) -> bytes:
    return cose.sign([key.private or b"" for key in signers], trust_store.encode(new), {16: rotation.TYP})


def raw(value: Any, signers: Sequence[Key], headers: dict[int, Any] | None = None) -> bytes:
    """An update whose payload is `value`, signed however little sense it makes."""
    payload = value if isinstance(value, bytes) else cbor.dumps(value)
    return cose.sign([key.private or b"" for key in signers], payload, headers or {16: rotation.TYP})


def edited(data: bytes, change: Callable[[list[Any]], None]) -> bytes:
    """The update with its four parts changed after signing."""
    parts = cbor.loads(data, tags=frozenset({98})).value
    change(parts)
    return cbor.dumps(CBORTag(98, parts))


def cases() -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []

    def case(name: str, start: trust_store.TrustStore, *steps: Step) -> None:
        entry = {"name": name, "store": trust_store.encode(start).hex()}
        entry["updates"] = [{"update": data.hex(), "verdict": verdict} for data, verdict in steps]
        now = start
        for data, verdict in steps:
            if verdict == GOOD:
                now = rotation.store_of(data)
        entry["end"] = now.version
        out.append(entry)

    one = store(1, [A])
    two = store(2, [A])
    case("one key, the same again", one, (update(two, [A]), GOOD))
    case("one key, replaced", one, (update(store(2, [B], revoked=[A]), [A, B]), GOOD))
    case("one key, replaced, signed by the old alone", one, (update(store(2, [B], revoked=[A]), [A]), "unknown-key"))
    case("one key, replaced, signed by the new alone", one, (update(store(2, [B], revoked=[A]), [B]), "unknown-key"))
    case("nobody we know", one, (update(two, [C]), "unknown-key"))
    case("a stranger's signature beside", one, (update(two, [C, A]), GOOD))
    case("a release key cannot", one, (update(two, [RELEASE]), "unknown-key"))
    five = [A, B, C, D, E]
    start = store(1, five, 3)
    case("3 of 5, the same keys", start, (update(store(2, five, 3), [A, B, C]), GOOD))
    case("3 of 5, others of them", start, (update(store(2, five, 3), [C, D, E]), GOOD))
    case("3 of 5, two signatures", start, (update(store(2, five, 3), [A, B]), "threshold"))
    case("3 of 5, one key signs thrice", start, (update(store(2, five, 3), [A, A, A]), "malformed"))
    swapped = store(2, [B, C, D, E, F], 3, revoked=[A])
    case("3 of 5, one key replaced, old and new in common", start, (update(swapped, [B, C, D]), GOOD))
    case("3 of 5, one key replaced, quorums overlap", start, (update(swapped, [A, C, D, F]), GOOD))
    case("3 of 5, one key replaced, the old quorum missing", start, (update(swapped, [B, C, F]), "threshold"))
    case("3 of 5, one key replaced, the new quorum missing", start, (update(swapped, [A, B, C]), "threshold"))
    others = store(2, [F, G, H, K, L], 3, revoked=five)
    case("3 of 5, all replaced", start, (update(others, [A, B, C, F, G, H]), GOOD))
    case("3 of 5, all replaced, the old quorum missing", start, (update(others, [A, B, F, G, H]), "threshold"))
    case("3 of 5, all replaced, the new quorum missing", start, (update(others, [A, B, C, F, G]), "threshold"))
    case("3 of 5, all replaced, none of the old", start, (update(others, [F, G, H]), "unknown-key"))
    up = store(2, [A, B, C], 3)
    case("threshold up", store(1, [A, B, C]), (update(up, [A, B, C]), GOOD))
    case("threshold up, signed for the old one", store(1, [A, B, C]), (update(up, [A]), "threshold"))
    down = store(2, [A, B, C])
    case("threshold down", store(1, [A, B, C], 2), (update(down, [A, B]), GOOD))
    case("threshold down, signed for the new one", store(1, [A, B, C], 2), (update(down, [A]), "threshold"))
    overlap = store(2, [A, B])
    alone = store(3, [B], revoked=[A])
    case("two keys for a while, then one", one, (update(overlap, [A, B]), GOOD), (update(alone, [A, B]), GOOD))
    case("a dropped key signs no more", one, (update(overlap, [A]), GOOD), (update(alone, [B]), GOOD),
         (update(store(4, [B], revoked=[A]), [A]), "unknown-key"))  # fmt: skip
    four = store(4, [B, A])
    case("a dropped key does not come back", one, (update(overlap, [A]), GOOD), (update(alone, [B]), GOOD),
         (update(four, [B, A]), "revoked"))  # fmt: skip
    case("a dropped key is not named", one, (update(store(2, [B]), [A, B]), "revoked"))
    case("a revoked key is forgotten", store(1, [A], revoked=[B]), (update(two, [A]), "revoked"))
    lost = store(2, [A], others=[RELEASE_2], revoked=[RELEASE])
    case("the release key is lost", one, (update(lost, [A]), GOOD))
    case("the release key is lost and not named", one, (update(store(2, [A], others=[RELEASE_2]), [A]), "revoked"))
    wire = keys.from_seed("release", bytes([1]) * 32)  # what make_wire_vectors.py signs with
    without = store(2, [A], others=[RELEASE_3], revoked=[wire])
    case("the release key of wire.json is dropped", store(1, [A], others=[wire]), (update(without, [A]), GOOD))
    also = store(2, [A], others=[RELEASE, RELEASE_2, RELEASE_3, COMMAND], release=2)
    case("more keys of other roles, and a threshold", one, (update(also, [A]), GOOD))
    moved = trust_store.make([A, RELEASE_2, Key("command", RELEASE.public)], 2)
    case("a key changes its role", one, (update(moved, [A]), "revoked"))
    case("the same version", one, (update(store(1, [A]), [A]), "version"))
    case("an older version", store(5, [A]), (update(store(4, [A]), [A]), "version"))
    case("a version left out", one, (update(store(3, [A]), [A]), "version"))
    case("three versions in order", one, *((update(store(n, [A]), [A]), GOOD) for n in (2, 3, 4)))
    case("three versions in the wrong order", one, (update(store(3, [A]), [A]), "version"),
         (update(two, [A]), GOOD), (update(two, [A]), "version"), (update(store(3, [A]), [A]), GOOD))  # fmt: skip
    case("the last version there is", store(2**32 - 1, [A]), (update(store(2**32 - 1, [A]), [A]), "version"))
    case("a store without a root key to begin with", trust_store.make([RELEASE]), (update(two, [A]), "unknown-key"))
    case("the last root key", one, (update(trust_store.make([RELEASE], 2, revoked=[A.kid]), [A]), "unknown-key"))
    only_root = trust_store.make([A], 2, revoked=[RELEASE.kid])
    case("the last release key", one, (update(only_root, [A]), "malformed"))

    good = update(two, [A])
    case("typed as a command", one, (raw(trust_store.encode(two), [A], {16: 61}), "typ"))
    case("a header more", one, (raw(trust_store.encode(two), [A], {16: rotation.TYP, 3: 0}), "typ"))
    case("a critical header", one, (raw(trust_store.encode(two), [A], {2: [16], 16: rotation.TYP}), "malformed"))
    case("no store inside", one, (raw({1: 2}, [A]), "malformed"))
    case("bytes inside that are no CBOR", one, (raw(b"\xff", [A]), "malformed"))
    case("a threshold above the keys", one, (raw(_threshold(two, 2), [A]), "malformed"))
    case("no signature", one, (edited(good, lambda parts: parts[3].clear()), "malformed"))
    case("nine signatures", one, (update(two, [A, *[keys.from_seed("root", seed(str(n))) for n in range(8)]]),
                                  "malformed"))  # fmt: skip
    case("an unprotected header", one, (edited(good, lambda parts: parts[1].update({4: A.kid})), "malformed"))
    case("no key id", one, (edited(good, lambda parts: parts[3][0][1].clear()), "malformed"))
    case("a signature of 63 bytes", one, (edited(good, _short), "malformed"))
    case("algorithm -8", one, (edited(good, _older_algorithm), "malformed"))
    case("another key's id", one, (edited(good, lambda parts: parts[3][0][1].update({4: B.kid})), "unknown-key"))
    case("changed after signing", one, (edited(good, _raise_version), "signature"))
    one_signer = cose.sign1(A.private or b"", trust_store.encode(two), headers={16: rotation.TYP})
    case("a COSE_Sign1", one, (one_signer, "malformed"))
    case("cut off", one, (good[:-1], "malformed"))
    case("one byte more", one, (good + b"\0", "malformed"))
    case("empty", one, (b"", "malformed"))
    return out


def _threshold(good: trust_store.TrustStore, number: int) -> Any:
    value = cbor.loads(trust_store.encode(good))
    value[2][3][0] = number
    return value


def _short(parts: list[Any]) -> None:
    parts[3][0][2] = parts[3][0][2][:-1]


def _older_algorithm(parts: list[Any]) -> None:
    parts[3][0][0] = cbor.dumps({1: -8})


def _raise_version(parts: list[Any]) -> None:
    parts[2] = parts[2].replace(b"\xa3\x01\x02", b"\xa3\x01\x03", 1)


# ---------------------------------------------------------------- who must sign releases and commands


def quorums() -> list[dict[str, Any]]:
    """Manifests and commands against thresholds: kind, store, message, verdict, and a command's "after": what is said
    to these further messages once it was carried out."""
    out: list[dict[str, Any]] = []
    two_of_three = trust_store.make([RELEASE, RELEASE_2, RELEASE_3, COMMAND, A], 1, {"release": 2})
    plain = trust_store.make([RELEASE, RELEASE_2, COMMAND, A])
    facts = manifest.Manifest(7, "1.0.0", bytes(16), bytes(range(16)), manifest.Image(bytes(32), 1000))

    def envelope(name: str, at: trust_store.TrustStore, signers: Sequence[Key], verdict: str) -> None:
        data = _envelope(manifest.encode(facts), signers)
        out.append({"kind": "manifest", "name": name, "store": trust_store.encode(at).hex(), "message": data.hex(),
                    "verdict": verdict})  # fmt: skip

    envelope("2 of 3", two_of_three, [RELEASE, RELEASE_3], GOOD)
    envelope("3 of 3", two_of_three, [RELEASE, RELEASE_2, RELEASE_3], GOOD)
    envelope("1 of 3", two_of_three, [RELEASE], "threshold")
    envelope("a stranger does not count", two_of_three, [RELEASE, STRANGER], "threshold")
    envelope("a command key does not count", two_of_three, [RELEASE, COMMAND], "threshold")
    envelope("one key signs twice", two_of_three, [RELEASE, RELEASE], "malformed")
    envelope("nobody we know", two_of_three, [STRANGER, COMMAND], "unknown-key")
    envelope("more than needed", plain, [RELEASE, RELEASE_2], GOOD)
    envelope("old and new key, seen by the old store", plain, [RELEASE, RELEASE_3], GOOD)
    rotated = trust_store.make([RELEASE_3, A], 2, revoked=[RELEASE.kid, RELEASE_2.kid])
    envelope("old and new key, seen by the new store", rotated, [RELEASE, RELEASE_3], GOOD)
    envelope("the old key alone, after it was revoked", rotated, [RELEASE], "unknown-key")

    pair = trust_store.make([RELEASE, COMMAND, COMMAND_2, COMMAND_3, A], 1, {"command": 2})
    four = trust_store.make([RELEASE, COMMAND, COMMAND_2, COMMAND_3, STRANGE_COMMAND_KEY], 1, {"command": 2})

    def ask(count: int = 1) -> cwt.Command:
        return cwt.Command(DEVICE, "ping", {}, count.to_bytes(8, "big"), 1_790_000_000, 1_790_000_600, NONCE)

    def said(name: str, at: trust_store.TrustStore, data: bytes, verdict: str, *after: Step) -> None:
        out.append({"kind": "command", "name": name, "store": trust_store.encode(at).hex(), "message": data.hex(),
                    "verdict": verdict, "after": [[more.hex(), then] for more, then in after]})  # fmt: skip

    both = cwt.make([COMMAND, COMMAND_2], ask())
    said("2 of 3", pair, both, GOOD, (both, "replay"), (cwt.make([COMMAND, COMMAND_3], ask(2)), GOOD))
    looking = [keys.from_seed("diagnose", bytes([n]) * 32) for n in (21, 22, 23)]
    eyes = trust_store.make([RELEASE, COMMAND, *looking, A], 1, {"diagnose": 2})
    seen = cwt.make(looking[:2], ask())
    said("2 of 3 diagnose keys", eyes, seen, GOOD, (seen, "replay"), (cwt.make(looking[1:], ask(2)), GOOD))
    said("1 of 3 diagnose keys", eyes, cwt.make(looking[0], ask()), "threshold")
    both_roles = _command_sign([COMMAND, looking[0]], ask())
    said("a command key and a diagnose key", eyes, both_roles, GOOD, (cwt.make(looking[:2], ask()), GOOD))
    said("1 of 3", pair, cwt.make(COMMAND, ask()), "threshold")
    said("1 of 3 as a COSE_Sign", pair, _command_sign([COMMAND], ask()), "threshold")
    said("one key signs twice", pair, _command_sign([COMMAND, COMMAND], ask()), "malformed")
    said("a release key does not count", pair, _command_sign([COMMAND, RELEASE], ask()), "threshold")
    said("a stranger beside", pair, _command_sign([STRANGER, COMMAND, COMMAND_2], ask()), GOOD)
    said("five signers", pair, _command_sign([COMMAND, COMMAND_2, COMMAND_3, A, RELEASE], ask()), "malformed")
    said("typed as a trust store", pair, _command_sign([COMMAND, COMMAND_2], ask(), rotation.TYP), "typ")
    all_four = cwt.make([COMMAND, COMMAND_2, COMMAND_3, STRANGE_COMMAND_KEY], ask())
    said("four signatures are not two commands", four, _pick(all_four, 0, 1), GOOD, (_pick(all_four, 2, 3), "replay"),
         (all_four, "replay"))  # fmt: skip
    said("a trust update is no command", pair, update(store(2, [A]), [COMMAND, COMMAND_2]), "typ")
    single = trust_store.make([RELEASE, COMMAND, COMMAND_2])
    said("one of two is enough", single, cwt.make(COMMAND_2, ask()), GOOD, (cwt.make(COMMAND, ask()), GOOD))
    said("two where one is enough, split", single, _pick(both, 0), GOOD, (_pick(both, 1), "replay"))
    return out


STRANGE_COMMAND_KEY = keys.from_seed("command", seed("command 4"))


def _envelope(body: bytes, signers: Sequence[Key]) -> bytes:
    """As manifest.sign, which refuses what is wrong here on purpose."""
    made = manifest.sign(body, [RELEASE])
    envelope = cbor.loads(made, tags=frozenset({107}))
    signed = cbor.loads(envelope.value[2])[0]
    signatures = [cose.sign1(key.private or b"", signed, detached=True) for key in signers]
    return cbor.dumps(CBORTag(107, {**envelope.value, 2: cbor.dumps([signed, *signatures])}))


def _command_sign(signers: Sequence[Key], asked: cwt.Command, typ: Any = 61) -> bytes:
    payload = cbor.loads(cwt.make(COMMAND, asked), tags=frozenset({18})).value[2]
    return cose.sign([key.private or b"" for key in signers], payload, {16: typ})


def _pick(data: bytes, *numbers: int) -> bytes:
    """The COSE_Sign with only these of its signatures."""
    return edited(data, lambda parts: parts.__setitem__(3, [parts[3][n] for n in numbers]))
