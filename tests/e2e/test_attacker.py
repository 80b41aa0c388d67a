"""Somebody with the server's database, its admin token and its password at the broker, but without a key, tries to make
the board do something. It raises alarms, and does nothing; and afterwards it still does what it is asked rightly.

Ground: the emulated Cortex-M3. The board's console says what was carried out, whoever says what else. The broker is the
embedded one: mosquitto lets one connection in with the server's password, so there the attacker throws the server out,
and it hears no alarms.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cbor2 import CBORTag
from lab import Installation, attacker
from shared_board import BOARD, DEVICE

from tidegate import manifest
from tidegate.commands import cwt
from tidegate.commands.cwt import Command
from tidegate.release import load_release
from tidegate.trust import keys, rotation
from tidegate.trust import store as trust_store
from tidegate.wire import cbor, cose

OTHER = "gate-2"  # another device of the fleet: its commands are real, and not for our board
WAIT_S = 90


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose trust store wants two signatures on a command; the board has carried out one."""
    with Installation(tmp_path_factory.mktemp("attacker") / "place") as made:
        made.make_keys()
        made.tidegate("key", "new", "--role", "command", "--out", made.key("second"))
        made.trust.unlink()
        roles = [made.key(name) for name in ("release", "command", "second", "root")]
        made.tidegate("trust", "new", "--out", made.trust, "--threshold", "command=2", *roles)
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        made.flash(made.add_board(DEVICE), DEVICE, "1.0.0")
        made.tidegate("device", "add", OTHER, "--board", BOARD, "--out", made.folder / "other.json")
        made.wait_running(DEVICE, "1.0.0", 60)
        ask(made, "ping")
        yield made


def ask(place: Installation, opcode: str) -> dict[str, Any]:
    """The answer to a command by those who have the keys."""
    signers = ("--key", place.key("command"), "--key", place.key("second"))
    told = json.loads(place.tidegate("cmd", "send", DEVICE, opcode, *signers, "--wait", "150", "--json"))
    assert told["outcome"] == "done", told
    return dict(told["result"]["answer"])


def carried_out(place: Installation) -> list[str]:
    """The opcodes of the commands that the board took up, in order, by its console."""
    lines = [line.split() for line in place.boards[0].lines]
    return [words[at + 1] for words in lines for at, word in enumerate(words[:-1]) if word == "command" and at <= 3]


def publish(place: Installation, message: bytes, retain: bool = False, what: str = "cmd") -> None:
    attacker.publish(place, f"tg/{DEVICE}/down/{what}", message, retain)


def refusal(place: Installation, mark: int, words: str, timeout_s: float = WAIT_S) -> None:
    place.boards[0].wait_line(words, timeout_s, mark)


def rows(place: Installation, statement: str, *values: Any) -> list[Any]:
    with sqlite3.connect(place.data / "tidegate.db", timeout=20) as database:
        return database.execute(statement, values).fetchall()


def sent_before(place: Installation, device: str = DEVICE) -> bytes:
    """The last signed message to a device, out of the database."""
    wanted = "SELECT message FROM command WHERE device_id = ? AND outcome = 'done' ORDER BY id DESC LIMIT 1"
    return bytes(rows(place, wanted, device)[0][0])


def genuine(place: Installation, device: str, opcode: str = "reboot", counter: int | None = None) -> bytes:
    """A command by both keys that the attacker may have seen, and the board has not: it is kept from it here."""
    now = int(time.time())
    cti = cwt.next_counter(place.key("command")) if counter is None else counter.to_bytes(8, "big")
    nonce = bytes.fromhex(place.api.device(DEVICE)["nonce"])
    wanted = Command(device, opcode, {}, cti, now, now + 600, nonce)
    return cwt.make([keys.load(place.key(name)) for name in ("command", "second")], wanted)


def parts(message: bytes) -> tuple[bytes, bytes, list[Any]]:
    """(protected header, payload, signers) of a COSE_Sign."""
    protected, _, payload, signers = cbor.loads(message, "command", tags=frozenset({98})).value
    return protected, payload, signers


def together(protected: bytes, payload: bytes, signers: list[Any]) -> bytes:
    return cbor.dumps(CBORTag(98, [protected, {}, payload, signers]))


# ---------------------------------------------------------------- the attacks


def own_keys(place: Installation) -> bytes:
    now = int(time.time())
    nonce = bytes.fromhex(place.api.device(DEVICE)["nonce"])
    wanted = Command(DEVICE, "reboot", {}, b"\xff" * 8, now, now + 600, nonce)
    return cwt.make([keys.new("command"), keys.new("command")], wanted)


def own_keys_under_the_real_names(place: Installation) -> bytes:
    protected, payload, signers = parts(own_keys(place))
    real = [entry[1] for entry in parts(sent_before(place))[2]]
    return together(protected, payload, [[one[0], name, one[2]] for one, name in zip(signers, real, strict=True)])


def another_request_under_the_real_signatures(place: Installation) -> bytes:
    protected, payload, signers = parts(sent_before(place))
    assert b"ping" in payload
    return together(protected, payload.replace(b"dping", b"freboot"), signers)


def one_signature_of_two(place: Installation) -> bytes:
    protected, payload, signers = parts(genuine(place, DEVICE))
    return together(protected, payload, signers[:1])


def one_signature_twice(place: Installation) -> bytes:
    protected, payload, signers = parts(genuine(place, DEVICE))
    return together(protected, payload, [signers[0], signers[0]])


def cut_out_as_a_message_of_one(place: Installation) -> bytes:
    """A signature of a COSE_Sign passed off as that of a COSE_Sign1."""
    _, payload, signers = parts(genuine(place, DEVICE))
    protected = cbor.dumps({1: cose.ALG_ED25519, 16: cwt.TYP_CWT})
    return cbor.dumps(CBORTag(18, [protected, signers[0][1], payload, signers[0][2]]))


def merged_from_two(place: Installation) -> bytes:
    """The first key's signature of one command, the second key's of another."""
    protected, payload, one = parts(genuine(place, DEVICE))
    other = parts(genuine(place, DEVICE, "info"))[2]
    return together(protected, payload, [one[0], other[1]])


def of_another_device(place: Installation) -> bytes:
    return genuine(place, OTHER)


def of_another_boot(place: Installation) -> bytes:
    now = int(time.time())
    wanted = Command(DEVICE, "reboot", {}, cwt.next_counter(place.key("command")), now, now + 600, bytes(8))
    return cwt.make([keys.load(place.key(name)) for name in ("command", "second")], wanted)


def a_manifest(place: Installation) -> bytes:
    """Signed by the release key: the right people, about something else."""
    content = load_release(place.release("1.0.0")).manifest(BOARD)
    return manifest.sign(manifest.encode(content), [keys.load(place.key("release"))])[: cwt.MAX_SIZE]


def unsigned(place: Installation) -> bytes:
    return parts(genuine(place, DEVICE))[1]


def without_signatures(place: Installation) -> bytes:
    protected, payload, _ = parts(genuine(place, DEVICE))
    return together(protected, payload, [])


def oversized(place: Installation) -> bytes:
    return genuine(place, DEVICE) + bytes(cwt.MAX_SIZE)


ATTACKS = [
    (own_keys, "unknown-key"),
    (own_keys_under_the_real_names, "signature"),
    (another_request_under_the_real_signatures, "signature"),
    (lambda place: sent_before(place), "replay"),
    (one_signature_of_two, "threshold"),
    (one_signature_twice, "malformed|signature|threshold"),
    (cut_out_as_a_message_of_one, "signature|threshold"),
    (merged_from_two, "signature"),
    (of_another_device, "audience"),
    (of_another_boot, "nonce"),
    (a_manifest, "malformed"),
    (unsigned, "malformed"),
    (without_signatures, "malformed"),
    (oversized, "too-large"),
]
NAMES = ["a replay" if name.__name__ == "<lambda>" else name.__name__.replace("_", " ") for name, _ in ATTACKS]


def restarted(place: Installation) -> None:
    """After five alarms of a kind the board only counts for half a minute, and after eight messages like these it
    takes a minute's rest from verifying; a reset ends both."""
    board, before = place.boards[0], place.api.device(DEVICE)["nonce"]
    board.power_cut()
    board.power_on()
    place.wait("the new birth", lambda: place.api.device(DEVICE)["nonce"] != before, WAIT_S)
    place.wait_running(DEVICE, "1.0.0", WAIT_S)


@pytest.mark.parametrize(("make", "reason"), ATTACKS, ids=NAMES)
def test_straight_over_the_broker(place: Installation, make: Any, reason: str) -> None:
    if make in (ATTACKS[5][0], ATTACKS[10][0]):
        restarted(place)
    before, ran, mark = place.api.device(DEVICE), carried_out(place), len(place.boards[0].lines)
    publish(place, make(place))
    refusal(place, mark, f"command-refused.*({reason})")
    after = place.api.device(DEVICE)
    assert carried_out(place) == ran
    assert (after["nonce"], after["digest"], after["online"]) == (before["nonce"], before["digest"], True)


def test_every_refusal_is_an_alarm_or_counted_in_one(place: Installation) -> None:
    raised = [alarm for alarm in place.api.alarms.listed(100)["alarms"] if alarm["source"] == "device"]
    assert {"unknown-key", "signature", "replay"} <= {alarm["reason"] for alarm in raised}
    with_cti = [alarm for alarm in raised if alarm["cti"]]
    assert with_cti, "so that people can tell which command it called itself"


def test_the_board_is_still_there_for_those_with_the_keys(place: Installation) -> None:
    """What was forged has used no counter up, though one carried the highest there is."""
    assert ask(place, "ping")["uptime_s"] >= 0
    assert carried_out(place) == ["ping", "ping"]


def test_another_trust_store(place: Installation) -> None:
    """With keys of his own as root."""
    root, mine = keys.new("root"), keys.new("command")
    now = trust_store.load(place.trust)
    store = trust_store.make([root, mine, *(key for key in now.keys if key.role == "release")], now.version + 1)
    mark = len(place.boards[0].lines)
    publish(place, rotation.sign(rotation.propose(store), [root]), what="trust")
    refusal(place, mark, "trust-refused.*(unknown-key|threshold)")
    assert place.api.device(DEVICE)["trust_version"] == now.version


def test_through_the_api_with_the_admin_token(place: Installation) -> None:
    """The server passes on nothing that it can tell to be forged, and nothing twice."""
    ran = carried_out(place)
    for forged, reason in (
        (own_keys(place), "is not in the trust store"),
        (merged_from_two(place), "signature"),
        (one_signature_of_two(place), "1 of 2"),
        (of_another_device(place), OTHER),
    ):
        with pytest.raises(Exception, match=reason):
            place.api.send_command(DEVICE, forged)
    assert place.api.send_command(DEVICE, sent_before(place))["state"] == "confirmed", "it was, long ago"
    assert carried_out(place) == ran


def test_rows_edited_in_the_database(place: Installation) -> None:
    """A forged command in the place of a good one, one of another device turned round, an old one set back to the
    start, and one put in without any API."""
    ran = carried_out(place)
    waiting = genuine(place, OTHER)  # for a device that is away, and so never sent
    cti = place.api.send_command(OTHER, waiting)["cti"]
    mark = len(place.boards[0].lines)
    rows(place, "UPDATE command SET device_id = ? WHERE cti = ?", DEVICE, cti)
    place.wait("the refusal", lambda: "audience" in (place.api.command(cti)["why"] or ""), WAIT_S)
    forged = "UPDATE command SET message = ?, state = 'verified', claimed_at = NULL WHERE cti = ?"
    rows(place, forged, own_keys(place), cti)
    place.wait("the refusal", lambda: "unknown-key" in (place.api.command(cti)["why"] or ""), WAIT_S)
    assert carried_out(place) == ran and not any("command-refused" in line for line in place.boards[0].lines[mark:])
    # An old one is genuine: only the board can tell, and does.
    back = "state = 'verified', outcome = NULL, claimed_at = NULL, ended_at = NULL"
    again = "SELECT max(id) FROM command WHERE opcode = 'ping' AND message IS NOT NULL"
    rows(place, f"UPDATE command SET {back} WHERE id = ({again})")
    refusal(place, mark, "command-refused.*replay")
    assert carried_out(place) == ran


def test_replays_to_a_board_that_started_anew(place: Installation) -> None:
    """Kept by the broker for it, so that they are the first thing it hears."""
    ran, old = carried_out(place), sent_before(place)
    board = place.boards[0]
    publish(place, old, retain=True)
    before, mark = place.api.device(DEVICE)["nonce"], len(board.lines)
    restarted(place)
    refusal(place, mark, "command-refused.*(replay|nonce)")
    publish(place, b"", retain=True)
    assert carried_out(place) == ran
    mark = len(board.lines)
    publish(place, genuine_for(place, before))
    refusal(place, mark, "command-refused.*nonce")
    assert carried_out(place) == ran


def genuine_for(place: Installation, nonce: str) -> bytes:
    """Kept back while that boot lasted, and never heard by the board."""
    now = int(time.time())
    cti = cwt.next_counter(place.key("command"))
    wanted = Command(DEVICE, "reboot", {}, cti, now, now + 600, bytes.fromhex(nonce))
    return cwt.make([keys.load(place.key(name)) for name in ("command", "second")], wanted)


def test_in_the_end_the_board_has_done_what_its_owners_asked_and_nothing_else(place: Installation) -> None:
    nonce = place.api.device(DEVICE)["nonce"]
    assert ask(place, "info")["version"] == "1.0.0"
    assert carried_out(place) == ["ping", "ping", "info"]
    after = place.api.device(DEVICE)
    assert (after["nonce"], after["trust_version"]) == (nonce, 1)
