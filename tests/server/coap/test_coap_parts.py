"""The parts of the CoAP endpoint: messages against vectors and a foreign COSE library, Echo values, keys, blocks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import coap_device
import pytest
from aiocoap import Message, numbers
from aiocoap.optiontypes import BlockOption
from cwt import COSE, COSEKey
from patience import limit

from ota_server.coap import echo, mac
from ota_server.coap.blocks import Bodies, Reply, Source, cut
from ota_server.coap.observers import Observers
from ota_server.security.device_credentials import Keys
from tidegate.errors import TidegateError

VECTORS = Path(__file__).parents[2] / "vectors"
SESSIONS = json.loads((VECTORS / "coap.json").read_text())
POSTS = [(bytes.fromhex(s["session_key"]), post) for s in SESSIONS for post in s["posts"]]


def test_the_vectors_are_what_their_maker_makes():
    subprocess.run([sys.executable, str(VECTORS / "make_coap_vectors.py"), "--check"], check=True, timeout=limit(60))


@pytest.mark.parametrize("session", SESSIONS, ids=lambda s: s["echo"])
def test_sessions_and_reads_as_in_the_vectors(session):
    key = mac.session_key(bytes.fromhex(session["coap_key"]), bytes.fromhex(session["echo"]))
    assert key.hex() == session["session_key"]
    for get in session["gets"]:
        assert f"a={mac.query_tag(key, get['path'])}" == get["query"]
        assert mac.query_verifies(key, get["path"], get["query"][2:])
        assert not mac.query_verifies(key, get["path"] + "x", get["query"][2:])
        assert not mac.query_verifies(key, get["path"], "\xff" * 16)


@pytest.mark.parametrize(("key", "post"), POSTS)
def test_messages_as_in_the_vectors(key: bytes, post: dict[str, Any]):
    payload, body = bytes.fromhex(post["payload"]), bytes.fromhex(post["body"])
    assert mac.sign(key, post["path"], post["counter"], payload) == body
    assert coap_device.signed(key, post["path"], post["counter"], payload) == body
    assert len(body) - len(payload) <= mac.OVERHEAD
    message = mac.split(body)
    assert message and (message.counter, message.payload) == (post["counter"], payload)
    assert message.verifies(key, post["path"]) and not message.verifies(key, post["path"] + "/")
    assert not message.verifies(bytes(32), post["path"])
    # A COSE library that is not ours takes it for what it is.
    cose_key = COSEKey.from_symmetric_key(key, alg="HMAC 256/64")
    assert COSE.new().decode(body, cose_key, external_aad=b"\x02" + post["path"].encode()) == payload


def test_only_one_spelling_of_a_message_is_read():
    key, post = POSTS[1]
    body = bytes.fromhex(post["body"])
    for end in range(len(body)):
        assert mac.split(body[:end]) is None
    assert mac.split(body + b"\0") is None
    for at in range(len(body)):
        changed = mac.split(body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :])
        assert changed is None or not changed.verifies(key, post["path"]), at


def test_echo_values_are_for_one_address_and_a_short_time():
    now = [1000.0]
    echoes = echo.Echoes(b"k" * 32, lambda: now[0])
    value = echoes.make("10.0.0.1 5683")
    assert len(value) == echo.SIZE and echo.made_at(value) == 1_000_000
    assert not echoes.knows("10.0.0.1 5683") and echoes.good(value, "10.0.0.1 5683") and echoes.knows("10.0.0.1 5683")
    assert not echoes.good(value, "10.0.0.1 5684") and not echoes.knows("10.0.0.1 5684")
    for wrong in (
        b"",
        value[:-1],
        value + b"\0",
        bytes((value[0] ^ 1,)) + value[1:],
        value[:-1] + bytes((value[-1] ^ 1,)),
    ):
        assert not echoes.good(wrong, "10.0.0.1 5683")
    assert echo.Echoes(b"k" * 32, lambda: now[0]).good(value, "10.0.0.1 5683"), "another process with the same key"
    assert not echo.Echoes(b"l" * 32, lambda: now[0]).good(value, "10.0.0.1 5683")
    now[0] += echo.FRESH_S + 1
    assert not echoes.good(value, "10.0.0.1 5683") and echoes.knows("10.0.0.1 5683")
    now[0] += echo.TRUSTED_S
    assert not echoes.knows("10.0.0.1 5683")
    now[0] = 0
    assert not echoes.good(value, "10.0.0.1 5683"), "not from the future either"


def test_addresses_that_are_known_are_bounded():
    echoes = echo.Echoes(b"k" * 32)
    for number in range(echo._MOST_ADDRESSES + 10):
        echoes.remember(f"10.0.0.1 {number}")
    assert not echoes.knows("10.0.0.1 9") and echoes.knows("10.0.0.1 10")


def test_keys_need_both_the_file_and_the_salt(tmp_path):
    keys = Keys(tmp_path / "one")
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    assert Keys(tmp_path / "one").of_device("gw", b"salt") == keys.of_device("gw", b"salt")
    others = {
        keys.of_device("gw", b"tlas"),
        keys.of_device("wg", b"salt"),
        Keys(tmp_path / "two").of_device("gw", b"salt"),
    }
    assert len(others) == 3 and keys.of_device("gw", b"salt") not in others
    (tmp_path / "one").write_text("00ff\n")
    with pytest.raises(TidegateError, match="32 bytes"):
        Keys(tmp_path / "one")


def block(number: int, more: bool, exponent: int = 2) -> Any:
    return BlockOption.BlockwiseTuple(number, more, exponent)


def test_bodies_are_put_together_and_bounded():
    now = [0.0]
    bodies = Bodies(200, lambda: now[0])

    def feed(key: str, number: int, more: bool, size: int = 64) -> Any:
        request = Message(code=numbers.POST, payload=bytes((number,)) * size, block1=block(number, more))
        try:
            return bodies.take((key,), request)
        except Reply as reply:
            return reply.response.code

    assert feed("a", 0, True) == feed("b", 0, True) == numbers.CONTINUE
    assert feed("a", 1, True) == numbers.CONTINUE and feed("a", 2, False, 10) == b"\0" * 64 + b"\1" * 64 + b"\2" * 10
    assert feed("a", 1, False) == numbers.REQUEST_ENTITY_INCOMPLETE, "that body is done"
    assert feed("b", 2, True) == numbers.REQUEST_ENTITY_INCOMPLETE, "a block is missing"
    assert feed("c", 0, True) == feed("c", 1, True) == feed("c", 2, True) == numbers.CONTINUE
    assert feed("c", 3, True) == numbers.REQUEST_ENTITY_TOO_LARGE
    assert feed("d", 0, True) == numbers.CONTINUE
    now[0] += 94
    assert feed("d", 1, False) == numbers.REQUEST_ENTITY_INCOMPLETE, "too late"
    assert bodies.take(("e",), Message(code=numbers.POST, payload=b"x" * 200)) == b"x" * 200
    with pytest.raises(Reply):
        bodies.take(("e",), Message(code=numbers.POST, payload=b"x" * 201))
    for number in range(300):
        assert feed(f"flood {number}", 0, True) == numbers.CONTINUE
    assert len(bodies._waiting) == 256 and feed("flood 0", 1, False) == numbers.REQUEST_ENTITY_INCOMPLETE
    assert feed("flood 299", 1, False, 1) == b"\0" * 64 + b"\1"


def test_only_the_block_asked_for_is_read():
    data, read = bytes(range(200)), []

    def piece(offset: int, count: int) -> bytes:
        read.append((offset, count))
        return data[offset : offset + count]

    source = Source(len(data), b"etag", piece)
    answer = cut(Message(code=numbers.GET, block2=block(2, False)), source)
    assert read == [(128, 64)] and answer.payload == data[128:192] and answer.opt.block2 == (2, True, 2)
    assert answer.opt.size2 is None and answer.opt.etag == b"etag"
    whole = cut(Message(code=numbers.GET), source)
    assert whole.payload == data and whole.opt.block2 is None
    assert cut(Message(code=numbers.GET, block2=block(0, False, 7)), source).code == numbers.BAD_REQUEST
    assert cut(Message(code=numbers.GET, block2=block(4, False)), source).code == numbers.BAD_REQUEST
    assert cut(Message(code=numbers.GET, etags=[b"etag"]), source).code == numbers.VALID
    empty = Source(0, b"none", lambda _offset, _count: b"")
    assert cut(Message(code=numbers.GET, block2=block(0, False)), empty).opt.block2 == (0, False, 2)


def test_observations_are_bounded_and_the_oldest_go():
    import asyncio

    async def many() -> None:
        observers = Observers()
        first, second, third = (observers.add("gw", "cmd", f"10.0.0.1 {port}") for port in range(3))
        assert first.replaced and first.changed.is_set() and not second.replaced and not third.replaced
        assert observers.of_device("gw") == [second, third] and observers.at("10.0.0.1 1") == [second]
        observers.remove(second)
        observers.remove(second)
        for number in range(4096):
            observers.add(f"gw-{number}", "offer", "10.0.0.2 1")
        assert third.replaced and len(observers.devices()) == 4096
        numbers_given = [observers.number() for _ in range(3)]
        assert numbers_given == sorted(numbers_given) and max(numbers_given) < 1 << 24

    asyncio.run(many())
