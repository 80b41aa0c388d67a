"""A board enrols at the real server: once, with its own key, and only there."""

from binascii import hexlify
from hashlib import sha256

import scratch
from check import equal, raises, settings, true
from gate.enrolment import enrol
from sim_enrolment import Board, control, credentials, flash, get, is_device, lines, put, start

SERVICES = "enrolment_server.serve"
GROUNDS = ("cpython", "unix", "cortex-m3")


def board(claim):
    made = Board(scratch.folder())
    flash(made.folder, claim)
    return made


def text(data):
    return hexlify(data).decode()


def test_it_becomes_a_device():
    claim = control("claim")
    made = board(claim)
    equal(start(made), "enrolled")
    device = is_device(made, claim)
    equal(len(device), 32)
    equal(control("key " + device), device)
    equal(text(sha256(get(made.folder, "trust.cbor")).digest()), settings["store_sha256"])
    seed = get(made.folder, "key")
    equal(len(seed), 32)
    true(any("enrolled as " + device in line for line in lines), lines)
    for secret in (text(seed), claim[22:65], credentials(made.folder)["password"]):
        true(not any(secret in line for line in lines), "a secret on the console")


def test_a_trust_store_that_is_flashed_stays():
    claim = control("claim")
    made = board(claim)
    put(made.folder, "trust.cbor", b"another store, as flashed")
    equal(start(made), "enrolled")
    is_device(made, claim)
    equal(get(made.folder, "trust.cbor"), b"another store, as flashed")
    true(any("another trust store" in line for line in lines), lines)


def test_lost_answers_and_a_server_that_is_away():
    claim = control("claim")
    made = board(claim)
    for mode in ("lose 2", "away 2", "busy 1", "html 1", "huge 1"):
        control("set " + mode)
        verdict = start(made, 3)
        if verdict == "enrolled":
            break
    equal(verdict, "enrolled")
    control("set pass")
    is_device(made, claim)


def test_it_waits_for_a_server_that_is_away():
    made = board(control("claim"))
    control("set away")
    equal(start(made, 5), "waits")
    true(int(control("asked")) >= 6)
    control("set pass")
    equal(get(made.folder, "credentials.json"), None)
    equal(start(made), "enrolled")


def test_it_believes_no_liar():
    for mode in ("forged", "stale", "swap", "none", "path", "named", "print"):
        claim = control("claim")
        made = board(claim)
        control("set " + mode)
        equal(start(made), "waits", mode)
        control("set pass")
        equal(get(made.folder, "credentials.json"), None, mode)
        equal(get(made.folder, "trust.cbor"), None, mode)
        equal(control("state " + claim), "open,None,0", mode)
        word = "trust store" if mode in ("swap", "none") else "not by the server"
        word = "id of another board" if mode in ("named", "print") else word
        true(any(word in line for line in lines), (mode, lines))


def test_each_refusal_is_told():
    used = control("claim")
    equal(start(board(used)), "enrolled")
    short = control("short")
    wrong = used[:22] + ("A" if used[22] != "A" else "B") + used[23:]
    for claim, word in ((used, "used already"), (wrong, "no such claim"), (short, "")):
        made = board(claim)
        verdict = start(made)
        if claim == short and verdict == "enrolled":  # it was fast
            continue
        equal(verdict, "waits")
        true(any("claim %s" % claim[5:21] in line and word in line for line in lines), lines)
        equal(get(made.folder, "credentials.json"), None)


def test_a_reason_may_be_anything():
    # Who answers may be anybody; what it says must not end the boot of a board that has credentials.
    equal(enrol._why(b'{"detail": "no\\u0007", "remedy": "Ask"}'), "no?. Ask")
    for nonsense in (b"", b"[]", b'{"detail": 7, "remedy": "x"}', b"[" * 2200):
        equal(enrol._why(nonsense), "no reason was given")
    for depth in (100, 1000):
        deep = b'{"detail": %s, "remedy": "x"}' % (b"[" * depth + b"]" * depth)
        equal(enrol._why(deep), "no reason was given")


def test_a_new_claim_for_a_device():
    first = control("claim")
    made = board(first)
    equal(start(made), "enrolled")
    device, old = is_device(made, first), credentials(made.folder)
    second = control("for " + device)
    put(made.folder, "claim", second)
    equal(start(made), "enrolled")
    equal(is_device(made, second), device)
    true(credentials(made.folder)["password"] != old["password"])
    true(control("login %s %s" % (old["user"], old["password"])) != "taken")


def test_a_registered_device_keeps_the_id_that_its_claim_names():
    # A server that makes claims for any id cannot make a board take it: who put the claim on the board names it.
    for number, cut in ((1, False), (2, True)):
        claim = control("registered gate-r%d" % number)
        made = board(claim[:98] if cut else claim)
        equal(start(made), "waits" if cut else "enrolled")
        if cut:
            true(any("id of another board" in line for line in lines), lines)
            equal(get(made.folder, "credentials.json"), None)
        else:
            equal(credentials(made.folder)["device"], "gate-r1")


def test_a_device_goes_on_when_a_new_claim_is_refused_or_the_server_away():
    made = board(control("claim"))
    equal(start(made), "enrolled")
    before = get(made.folder, "credentials.json")
    refused = control("claim")
    equal(start(board(refused)), "enrolled")
    put(made.folder, "claim", refused)
    equal(start(made), "on")
    control("set away")
    put(made.folder, "claim", control("claim"))
    equal(start(made, 9), "on")
    control("set pass")
    equal(get(made.folder, "credentials.json"), before)


def test_what_is_no_claim():
    for bad in (b"", b"\xff\xff", "tgc1_", "x" * 98, "tgc1_" + "g" * 16 + "_" + "A" * 43 + "_" + "0" * 32):
        made = board(None)
        put(made.folder, "claim", bad)
        equal(start(made), "on")
        true(any("not a valid claim" in line for line in lines), lines)


def test_the_repl_takes_claims_only():
    from boot import claim

    folder = scratch.folder()
    good = "tgc1_" + "0123456789abcdef" + "_" + "aZ09-_" * 7 + "A" + "_" + "f" * 32
    claim.put("  %s\n" % good, folder)
    equal(get(folder, "claim"), good.encode())
    equal(enrol.Claim(good).id, bytes((0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF)))
    named = good + "_gate-7"
    equal((enrol.Claim(named).device, enrol.Claim(good).device), ("gate-7", None))
    claim.put(named, folder)
    equal(get(folder, "claim"), named.encode())
    for end in ("_", "_Gate", "_" + "d" * 33, "-gate", "_gate_7"):
        raises(ValueError, claim.put, good + end, folder)
        raises(ValueError, enrol.Claim, good + end)
    claim.put(good, folder)
    for bad in ("", good[:-1], good + "0", good.replace("tgc1", "tgc2"), good.upper(), good[:30] + " " + good[31:]):
        raises(ValueError, claim.put, bad, folder)
    equal(get(folder, "claim"), good.encode())
    claim.drop(folder)
    claim.drop(folder)
    equal(get(folder, "claim"), None)
