"""The drill: the release key is lost and the root key changes hands while a board sleeps; it catches up and goes on.

Then somebody who found the old keys tries what they still open, which is nothing.
"""

from __future__ import annotations

import dataclasses

from lab import Installation, attacker
from shared_board import BOARD, DEVICE

from tidegate import manifest
from tidegate.release import load_release
from tidegate.trust import keys, rotation
from tidegate.trust import store as trust_store

TIMEOUT_S = 120


def test_keys_are_lost_while_a_board_sleeps(place: Installation) -> None:
    board = place.boards[0]
    board.power_cut()
    for role, name in (("release", "release-2"), ("root", "root-2")):
        place.tidegate("key", "new", "--role", role, "--out", place.key(name))
    rotate(place, 2, add="release-2", remove="release", signers=["root"])
    rotate(place, 3, add="root-2", remove="root", signers=["root", "root-2"])

    # The server goes by the new keys at once.
    refused = place.run("release", "publish", place.release("1.1.0"), "--yes")
    assert refused.returncode == 1 and "was revoked" in refused.stderr, refused.stderr
    place.tidegate("release", "sign", place.release("1.1.0"), "--key", place.key("release-2"))
    place.tidegate("release", "verify", place.release("1.1.0"), "--trust", store(place, 3))
    place.tidegate("release", "publish", place.release("1.1.0"), "--yes")
    shown = place.api.device(DEVICE)
    assert shown["offer"]["state"] == "waiting" and shown["trust"]["version"] == 1

    # The board wakes up two versions behind, takes one after the other, then the release.
    board.power_on()
    shown = place.wait_running(DEVICE, "1.1.0", TIMEOUT_S)
    assert shown["trust"] == {"version": 3, "newest": 3, "state": "current"}
    taken = [line for line in board.lines if "trust store version" in line]
    assert [line.split("version ")[1].split()[0] for line in taken] == ["2", "3"], taken
    alarms = place.api.alarms.listed(20)["alarms"]
    assert alarms == [], "\n".join(map(str, alarms)) + "\n" + "\n".join(board.lines[-40:])

    # A release by the old key is refused, and reported so.
    last = place.last_report(DEVICE)
    content = load_release(place.release("1.1.0")).manifest(BOARD)
    stolen = keys.load(place.key("release"))
    newer = manifest.encode(dataclasses.replace(content, sequence=9))
    attacker.publish(place, f"tg/{DEVICE}/down/offer", manifest.sign(newer, [stolen]))
    report = place.wait_report(DEVICE, "refused", last, TIMEOUT_S)
    assert report["verdict"]["reason"] == "unauthorised" and "trusts" in report["detail"], report
    wait_alarm(place, "offer-refused", "unknown-key")

    # So is a trust store by the old root key that would bring the old keys back, and an update seen before.
    old_root, third = keys.load(place.key("root")), trust_store.load(store(place, 3))
    back = trust_store.make([*third.keys, stolen], 4)
    forged = rotation.sign(rotation.propose(back), [old_root])
    attacker.publish(place, f"tg/{DEVICE}/down/trust", forged)
    wait_alarm(place, "trust-refused", "unknown-key")
    signed_right = rotation.sign(rotation.propose(back), [keys.load(place.key("root-2"))])
    attacker.publish(place, f"tg/{DEVICE}/down/trust", signed_right)
    wait_alarm(place, "trust-refused", "revoked")
    before = len(place.api.alarms.listed(50)["alarms"])
    attacker.publish(place, f"tg/{DEVICE}/down/trust", update(place, 2).read_bytes())
    place.wait("an alarm more", lambda: len(place.api.alarms.listed(50)["alarms"]) > before, TIMEOUT_S)

    # And nothing of it is different after the power was away.
    mark = len(board.lines)
    board.power_cut()
    board.power_on()
    board.wait_line("connected and announced", TIMEOUT_S, mark)
    shown = place.wait_running(DEVICE, "1.1.0", TIMEOUT_S)
    assert shown["trust"]["version"] == 3 and shown["sequence"] == 2


def rotate(place: Installation, version: int, add: str, remove: str, signers: list[str]) -> None:
    """Propose, sign, verify and publish the next version."""
    old, file = store(place, version - 1), update(place, version)
    change = ["--add", f"{place.key(add)}.pub", "--remove", place.key(remove)]
    place.tidegate("trust", "rotate", old, *change, "--out", file)
    for signer in signers:
        place.tidegate("trust", "sign", file, "--key", place.key(signer))
    place.tidegate("trust", "verify", file, "--old", old, "--out", store(place, version))
    place.tidegate("trust", "publish", file)


def store(place: Installation, version: int):
    return place.trust if version == 1 else place.folder / f"trust-{version}.cbor"


def update(place: Installation, version: int):
    return place.folder / f"trust-{version}.update"


def wait_alarm(place: Installation, kind: str, reason: str) -> None:
    place.wait(
        f"the alarm {kind} ({reason})",
        lambda: [a for a in place.api.alarms.listed(50)["alarms"] if (a["kind"], a["reason"]) == (kind, reason)],
        TIMEOUT_S,
    )
