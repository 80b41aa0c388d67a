"""What a board asks to enrol and what it believes, byte for byte: the vectors that the host's tests read, too."""

from binascii import hexlify, unhexlify

import scratch
from check import equal, raises, true, vectors
from gate.enrolment import enrol
from gate.enrolment.claim import Claim, Refused
from sim_enrolment import Board, Boot, put

GROUNDS = ("cpython", "unix", "cortex-m3")


class Config:
    """The settings that a request tells of."""

    def __init__(self, entry):
        self.board = entry["board"]
        self.product = entry["product"]


def test_requests():
    seen = 0
    for entry in vectors("enrolment"):
        if entry["kind"] != "request":
            continue
        board = Board(scratch.folder())
        board.id = unhexlify(entry["unique_id"])
        put(board.folder, "key", unhexlify(entry["seed"]))
        claim = Claim(entry["claim"])
        boot = Boot(board)
        asks = enrol.Enrolment(boot)._request
        wanted = claim.trust if entry["wants"] else None
        equal(hexlify(asks(claim, Config(entry), unhexlify(entry["nonce"]), wanted)).decode(), entry["request"])
        true(boot.feeds >= 2, "the watchdog is fed before each long step")
        seen += 1
    equal(seen, 2)


def test_answers():
    good = bad = 0
    for entry in vectors("enrolment"):
        if entry["kind"] != "answer":
            continue
        claim = Claim(entry["claim"])
        wanted = claim.trust if entry["wants"] else None
        arguments = unhexlify(entry["answer"]), unhexlify(entry["nonce"]), wanted
        if "value" not in entry:
            raises(Refused, claim.open, *arguments)
            bad += 1
            continue
        enrolled, value = claim.open(*arguments), entry["value"]
        found = enrolled.device, hexlify(enrolled.salt).decode(), enrolled.group
        equal(found, (value["device"], value["salt"], value["group"]))
        equal(enrolled.trust, unhexlify(value["trust"]) if value["trust"] else None)
        good += 1
    true(good >= 3 and bad >= 15, (good, bad))


def test_credentials():
    for entry in vectors("enrolment"):
        if entry["kind"] != "credentials":
            continue
        claim, salt = Claim(entry["claim"]), unhexlify(entry["salt"])
        equal((claim.password(salt), claim.coap_key(salt)), (entry["password"], entry["coap_key"]))
