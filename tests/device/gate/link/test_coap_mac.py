"""What a device sends over CoAP, byte by byte (tests/vectors/coap.json)."""

from binascii import hexlify, unhexlify

from check import equal, true, vectors
from gate.link.coap_mac import Session, hmac

GROUNDS = ("cpython", "unix", "cortex-m3")


def text(data):
    return str(hexlify(data), "ascii")


def test_messages_and_queries():
    seen = 0
    for entry in vectors("coap"):
        if "posts" not in entry:
            continue
        session = Session(unhexlify(entry["coap_key"]), unhexlify(entry["echo"]))
        equal(text(session._key), entry["session_key"])
        for post in entry["posts"]:
            body, counter = session.sign(post["path"], unhexlify(post["payload"]), post["counter"])
            equal(text(body), post["body"], post["path"])
            equal(counter, post["counter"])
        for get in entry["gets"]:
            equal(session.query(get["path"]), get["query"])
            seen += 1
    true(seen, "no vector")


def test_counters_rise_unless_told():
    session = Session(bytes(32), bytes(16))
    equal([session.sign("a", b"x")[1] for _ in range(3)], [0, 1, 2])
    first, again = session.sign("a", b"x", 1)[0], session.sign("a", b"x", 1)[0]
    equal(first, again)
    equal(session.sign("a", b"x")[1], 3)


def test_hmac_of_rfc_4231():
    """Section 4.3, test case 2."""
    found = hmac(b"Jefe", b"what do ya want for nothing?")
    equal(text(found), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
