"""Enrolment: one claim makes one device, whatever is tried."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import aiocoap
import databases
import httpx
import old_database
import pytest
from alembic import command
from board_with_claim import KIND, Board, new_claim, post, print_of, reason
from coap_device import CoapDevice, Loop
from device_commands import send, signed
from patience import limit
from server_process import KeyRing, ServerProcess, eventually
from sqlalchemy import text

from ota_server.store import Store
from ota_server.token_bucket import TokenBucket, TokenBuckets
from ota_server.uplink import ingest
from tidegate import enrolment
from tidegate.enrolment import Claim
from tidegate.trust import keys
from tidegate.trust import store as trust_store
from tidegate.wire.cbor import dumps, loads

NONCES = [bytes([number]) * 8 for number in range(1, 9)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ring: KeyRing) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path_factory.mktemp("enrol") / "data", "--trust", str(ring.trust), "--coap", "127.0.0.1:0")
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log.read_text()


@pytest.fixture(scope="module")
def store(ring: KeyRing) -> bytes:
    return ring.trust.read_bytes()


def alarms(server: ServerProcess, device: str) -> list[tuple[str, str]]:
    return [(row["kind"], row["reason"]) for row in server.api("GET", f"/devices/{device}/alarms")["alarms"]]


def broker_takes(server: ServerProcess, user: str, password: str) -> bool:
    return server.device(user, password, listen=False).refused is None


def state_of(server: ServerProcess, claim: Claim) -> str:
    rows = server.api("GET", "/claims")["claims"]
    return next(row["state"] for row in rows if row["id"] == claim.id.hex())


# ---------------------------------------------------------------- the good way


def test_a_board_enrols_and_is_a_device(server, store):
    claim = new_claim(server, store, name="first", group="default")
    board = Board()
    assert state_of(server, claim) == "open"
    answer = board.enrol(server, claim, claim.trust)
    assert (answer.device, answer.group, answer.name, answer.trust) == (board.id, "default", "first", store)
    assert len(board.id) == 32 and state_of(server, claim) == "used"
    shown = server.shown("first")
    assert (shown["id"], shown["key"], shown["hardware"]) == (board.id, board.id, board.hardware.hex())
    device = server.device(board.id, enrolment.mqtt_password(claim.secret, answer.salt))
    assert device.refused is None
    device.born(_14=board.hardware)
    eventually(lambda: server.shown(board.id)["online"])
    assert not alarms(server, board.id)


def test_nothing_in_the_database_or_the_log_gives_the_secret(server, store):
    claim = new_claim(server, store)
    answer = Board().enrol(server, claim)
    kept = b"".join(path.read_bytes() for path in server.data.glob("tidegate.db*")) + server.log.read_bytes()
    assert claim.id.hex().encode() in kept
    for secret in (claim.secret, claim.secret.hex().encode(), claim.text.encode()[22:65]):
        assert secret not in kept
    assert enrolment.mqtt_password(claim.secret, answer.salt).encode() not in kept


def test_the_same_key_gets_its_answer_again_until_it_was_there(server, store):
    claim, board = new_claim(server, store), Board()
    first = board.enrol(server, claim)
    again = board.enrol(server, claim)
    assert (first.salt, first.device) == (again.salt, again.device) and first.nonce != again.nonce
    device = server.device(board.id, enrolment.mqtt_password(claim.secret, first.salt))
    device.born(_14=board.hardware)
    eventually(lambda: server.shown(board.id)["version"])
    assert board.refused(server, claim) == "claim-used"
    assert not alarms(server, board.id)


def test_a_recorded_request_is_of_no_use(server, store):
    claim, board = new_claim(server, store), Board()
    asked = board.asks(claim, secrets.token_bytes(16))
    assert post(server, asked).status_code == 200
    repeated = post(server, asked)  # before it was there: the same answer, which only the claim's holder can use
    assert repeated.status_code == 200 and claim.secret not in repeated.content
    salt = board.enrol(server, claim).salt
    server.device(board.id, enrolment.mqtt_password(claim.secret, salt)).born()
    eventually(lambda: server.shown(board.id)["version"])
    assert reason(post(server, asked)) == "claim-used"


def test_a_claim_of_one_key_says_nothing_to_another(server, store):
    claim, board, thief = new_claim(server, store), Board(), Board()
    board.enrol(server, claim)
    assert thief.refused(server, claim) == "claim-used"
    assert ("claim-reused", "other-key") in alarms(server, board.id)
    found = server.api("GET", f"/devices/{board.id}/alarms")["alarms"][0]["detail"]
    assert claim.id.hex() in found and thief.id in found
    assert server.http.get(f"/api/v1/devices/{thief.id}").status_code == 404


def test_a_copy_that_asks_from_other_hardware_is_noticed(server, store):
    claim, board, copy = new_claim(server, store), Board(), Board()
    copy.key = board.key
    board.enrol(server, claim)
    assert copy.refused(server, claim) == "claim-used"
    assert ("claim-reused", "other-hardware") in alarms(server, board.id)


# ---------------------------------------------------------------- claims that do not count


def test_expired_revoked_and_misdirected_claims(server, store):
    for wanted, word in (
        ({"board": "qemu_mps2"}, "claim-board"),
        ({"product": "another"}, "claim-product"),
    ):
        claim = new_claim(server, store, **wanted)
        assert Board().refused(server, claim) == word
        assert state_of(server, claim) == "open"
    claim = new_claim(server, store)
    assert server.api("DELETE", f"/claims/{claim.id.hex()}")["state"] == "revoked"
    assert Board().refused(server, claim) == "claim-revoked"
    short = new_claim(server, store, expires_s=1)
    eventually(lambda: state_of(server, short) == "expired")
    assert Board().refused(server, short) == "claim-expired"


def test_a_used_claim_is_not_revoked_the_device_is(server, store):
    claim, board = new_claim(server, store), Board()
    board.enrol(server, claim)
    answer = server.http.delete(f"/api/v1/claims/{claim.id.hex()}")
    assert answer.status_code == 409 and board.id in answer.json()["remedy"]


def test_forgeries(server, store):
    claim, board = new_claim(server, store), Board()
    good = board.asks(claim, bytes(16))
    wrong_mac = bytearray(good)
    wrong_mac[-1] ^= 1
    assert reason(post(server, bytes(wrong_mac))) == "claim-unknown"
    # Somebody with another claim's secret.
    other = new_claim(server, store)
    assert Board().refused(server, Claim(claim.id, other.secret, claim.trust)) == "claim-unknown"
    assert Board().refused(server, Claim(secrets.token_bytes(8), secrets.token_bytes(32), claim.trust)) == (
        "claim-unknown"
    )
    # Somebody with the claim, who asks for an identity whose key is not his.
    thief = Board()
    thief.key = keys.Key("release", board.key.public, secrets.token_bytes(32))
    body = thief.asks(claim, bytes(16))
    assert reason(post(server, body)) in ("signature", "malformed")
    request = loads(good, tags=frozenset({17}))
    proof = loads(request.value[2], tags=frozenset({18}))
    proof.value[3] = bytes(64)
    request.value[2] = dumps(proof)
    request.value[3] = enrolment.hmac.digest(
        claim.secret, enrolment._mac_structure(request.value[0], request.value[2]), "sha256"
    )
    assert reason(post(server, dumps(request))) == "signature"
    assert state_of(server, claim) == "open"
    board.enrol(server, claim)


@pytest.mark.parametrize(
    "body", [b"", b"\xa0", b"\xd1\x84", b"x" * 512, b"x" * 513, b"x" * 100_000, dumps([1, 2, 3, 4])], ids=len
)
def test_nonsense(server, body):
    answer = post(server, body)
    assert answer.status_code == 422 and answer.json()["type"].endswith("/malformed"), answer.text


def test_a_trust_store_that_is_not_here_burns_no_claim(server, store):
    strange = trust_store.encode(trust_store.make([keys.new("release"), keys.new("command")]))
    claim, board = new_claim(server, strange), Board()
    assert board.refused(server, claim, claim.trust) == "trust-unknown"
    assert state_of(server, claim) == "open"
    assert board.enrol(server, claim).trust is None  # it is flashed: the board does not ask for it
    assert print_of(strange) == claim.trust


@pytest.mark.parametrize(
    "wanted",
    [
        {"expires_s": 0}, {"expires_s": True}, {"expires_s": "1"}, {"expires_s": 10**9}, {"name": "no spaces"},
        {"name": ""}, {"board": "X"}, {"product": "../x"}, {"colour": "red"}, {"name": 5},
        {"device": "nobody"}, {"group": "nowhere"},
    ],
    ids=str,
)  # fmt: skip
def test_claims_that_cannot_be(server, wanted):
    answer = server.http.post("/api/v1/claims", json=wanted)
    assert answer.status_code in (400, 404) and answer.json()["remedy"], answer.text


def test_too_many_at_once_from_one_address_wait(start):
    server = start()
    with httpx.Client(base_url=server.url, headers=KIND, timeout=limit(60)) as client:
        for _ in range(100_000):
            answer = client.post("/api/v1/enrol", content=b"\xa0")
            if answer.status_code != 422:
                break
    assert answer.status_code == 429 and answer.json()["remedy"] and answer.headers["retry-after"] == "10"


def test_a_limit_fills_up_again_and_forgets_the_silent():
    now = [1000.0]
    limit = TokenBuckets(0.5, 3, most=10, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(4)] == [True, True, True, False]
    assert limit.take("b")
    now[0] += 2
    assert [limit.take("a") for _ in range(2)] == [True, False]
    for number in range(15):
        limit.take(str(number))
    assert len(limit) == 10
    assert [limit.take("a") for _ in range(4)] == [True, True, True, False]  # it was forgotten, and so is full again


def test_a_token_on_credit_is_waited_for():
    now = [0.0]
    bucket = TokenBucket(10, 2, clock=lambda: now[0])
    assert [bucket.borrow() for _ in range(4)] == pytest.approx([0, 0, 0.1, 0.2])
    assert not bucket.take()
    now[0] += 0.35
    assert bucket.take() and not bucket.take()


# ---------------------------------------------------------------- one claim, one device


def race(server: ServerProcess, store: bytes, boards: list[Board]) -> list[int]:
    claim = new_claim(server, store)
    codes: list[int] = []
    gate = threading.Barrier(len(boards))

    def run(board: Board) -> None:
        body = board.asks(claim, secrets.token_bytes(16))
        gate.wait()
        codes.append(post(server, body).status_code)

    threads = [threading.Thread(target=run, args=(board,)) for board in boards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes


def test_two_keys_at_once(server, store):
    for _ in range(3):
        boards = [Board() for _ in range(4)]
        codes = race(server, store, boards)
        assert sorted(codes) == [200, 422, 422, 422]
        there = [server.http.get(f"/api/v1/devices/{board.id}").status_code for board in boards]
        assert there.count(200) == 1
    board = Board()
    assert race(server, store, [board, board, board]) == [200, 200, 200]


def test_two_keys_at_once_on_postgresql(start, store):
    with databases.postgresql() as url:
        server = start(env={"TIDEGATE_DATABASE_URL": url})
        for _ in range(3):
            boards = [Board() for _ in range(4)]
            assert sorted(race(server, store, boards)) == [200, 422, 422, 422]
        board = Board()
        codes = race(server, store, [board, board, board])
        assert set(codes) <= {200, 503} and 200 in codes
        rows = server.api("GET", "/devices")["devices"]
        assert len(rows) == 4 and server.api("GET", "/audit")["whole"]
        assert server.stop() == 0 and "Traceback" not in server.log.read_text()


# ---------------------------------------------------------------- again, out, and another name


def test_enrolling_again_gives_new_credentials_and_ends_the_old(server, store):
    first, board = new_claim(server, store, name="again"), Board()
    old = enrolment.mqtt_password(first.secret, board.enrol(server, first).salt)
    device = server.device(board.id, old)
    device.born(_14=board.hardware)
    eventually(lambda: server.shown("again")["online"])
    second = new_claim(server, store, device="again")
    assert Board().refused(server, second) == "other-key"
    assert ("claim-reused", "other-key") in alarms(server, board.id)
    answer = board.enrol(server, second)
    assert (answer.device, answer.name) == (board.id, "again")
    new = enrolment.mqtt_password(second.secret, answer.salt)
    device.leave()
    assert not broker_takes(server, board.id, old) and broker_takes(server, board.id, new)


def test_a_registered_device_gets_a_key_by_a_claim_for_it(server, store):
    password = server.register("old-hand")
    claim, board = new_claim(server, store, device="old-hand"), Board()
    answer = board.enrol(server, claim)
    assert answer.device == "old-hand" and server.shown("old-hand")["key"] == board.id
    assert not broker_takes(server, "old-hand", password)


def test_a_revoked_device_is_out_at_once_and_comes_back_by_a_claim_for_it(server, store):
    claim, board = new_claim(server, store), Board()
    password = enrolment.mqtt_password(claim.secret, board.enrol(server, claim).salt)
    device = server.device(board.id, password)
    device.born(_14=board.hardware)
    eventually(lambda: server.shown(board.id)["online"])
    gone = threading.Event()
    device.client.on_disconnect = lambda *_: gone.set()
    shown = server.api("POST", f"/devices/{board.id}/revoke")
    assert shown["revoked"] and not shown["online"]
    assert gone.wait(limit(30)), "its connection is cut"
    device.leave()
    assert not broker_takes(server, board.id, password)
    assert board.refused(server, claim) == "claim-used"
    assert board.refused(server, new_claim(server, store)) == "device-revoked"
    assert server.http.post(f"/api/v1/devices/{board.id}/credentials").status_code == 409
    back = new_claim(server, store, device=board.id)
    answer = board.enrol(server, back)
    assert server.shown(board.id)["revoked"] is None
    assert broker_takes(server, board.id, enrolment.mqtt_password(back.secret, answer.salt))


def test_no_claim_of_before_brings_a_revoked_device_back(server, store):
    board = Board()
    board.enrol(server, new_claim(server, store))
    before = new_claim(server, store, device=board.id)
    server.api("POST", f"/devices/{board.id}/revoke")
    assert state_of(server, before) == "revoked"
    assert board.refused(server, before) == "claim-revoked"
    after = new_claim(server, store, device=board.id)
    server.api("POST", f"/devices/{board.id}/revoke")  # once more: somebody thought better of it
    assert board.refused(server, after) == "claim-revoked"
    assert server.shown(board.id)["revoked"]
    told = server.api("GET", "/audit?limit=10")["entries"]
    assert {row["subject"] for row in told if row["action"] == "claim.revoke"} >= {before.id.hex(), after.id.hex()}


def test_what_a_revoked_device_says_by_other_ways_counts_no_more(server, store):
    """A broker that still lets it in, for as long as it does."""
    claim, board = new_claim(server, store), Board()
    board.enrol(server, claim)
    server.api("POST", f"/devices/{board.id}/revoke")
    database = Store(f"sqlite:///{server.data}/tidegate.db")
    refused = ingest.take(database, ingest.Message(f"tg/{board.id}/up/state", dumps({1: True}), False))
    database.close()
    assert refused is not None and refused.reason == "revoked"
    assert server.api("GET", "/status")["counters"]["messages of revoked devices"] >= 1
    assert not server.shown(board.id)["online"]


def test_a_name_is_as_good_as_an_id(server, store):
    claim, board = new_claim(server, store), Board()
    board.enrol(server, claim)
    renamed = server.http.patch(f"/api/v1/devices/{board.id}", json={"name": "Pump.7"}).json()
    assert renamed["name"] == "Pump.7" and server.shown("Pump.7")["id"] == board.id
    for path in ("reports", "alarms", "telemetry", "telemetry/last"):
        assert server.http.get(f"/api/v1/devices/Pump.7/{path}").status_code == 200, path
    server.register("plain")
    for name, code in (("plain", 409), ("Pump.7", 200), (board.id, 200), ("a b", 400), ("", 400), (7, 400)):
        answer = server.http.patch(f"/api/v1/devices/{board.id}", json={"name": name})
        assert answer.status_code == code, (name, answer.text)
    assert server.http.patch("/api/v1/devices/plain", json={"name": board.id}).status_code == 409
    promised = new_claim(server, store, name="soon")
    assert server.http.post("/api/v1/claims", json={"name": "soon"}).status_code == 409
    body = {"id": "soon", "board": "unix", "product": "p"}
    assert server.http.post("/api/v1/devices", json=body).status_code == 409
    assert Board().enrol(server, promised).name == "soon"
    assert server.http.patch(f"/api/v1/devices/{board.id}", json={"name": None}).json()["name"] is None


# ---------------------------------------------------------------- over CoAP


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    running = Loop()
    yield running
    running.close()


def test_the_coap_key_that_was_derived_counts_until_it_is_revoked(server, store, loop, ring):
    claim, board = new_claim(server, store), Board()
    key = enrolment.coap_key(claim.secret, board.enrol(server, claim).salt)
    device = CoapDevice(board.id, key, server.coap, loop)
    wrong = CoapDevice(board.id, bytes(32), server.coap, loop)
    try:
        assert device.say("state", {1: True}).code == aiocoap.CHANGED
        assert server.shown(board.id)["protocol"] == "coap"
        assert wrong.say("state", {1: True}).code == aiocoap.UNAUTHORIZED
        told = device.observe("cmd")
        server.api("POST", f"/devices/{board.id}/revoke")
        assert device.say("state", {1: True}).code == aiocoap.UNAUTHORIZED
        assert not server.shown(board.id)["online"]
        answer = send(server, board.id, signed(ring, board.id, 1))
        assert answer.status_code in (409, 422), answer.text
        assert told == [b""]
    finally:
        device.close()
        wrong.close()


# ---------------------------------------------------------------- copies


def test_other_hardware_with_the_same_credentials_is_noticed(server, store):
    claim, board = new_claim(server, store), Board()
    device = server.device(board.id, enrolment.mqtt_password(claim.secret, board.enrol(server, claim).salt))
    device.born(_7=NONCES[0], _14=board.hardware)
    eventually(lambda: server.shown(board.id)["version"])
    assert not server.shown(board.id)["cloned"]
    device.born(_7=NONCES[1], _14=Board().hardware)
    eventually(lambda: ("cloned", "other-hardware") in alarms(server, board.id))
    assert server.shown(board.id)["cloned"]


def test_two_boots_that_take_turns_are_noticed(server, store):
    """The copy has the same hardware print, too: a virtual gateway."""
    claim, board = new_claim(server, store), Board()
    device = server.device(board.id, enrolment.mqtt_password(claim.secret, board.enrol(server, claim).salt))
    for nonce in (NONCES[0], NONCES[1], NONCES[0], NONCES[1]):  # what a broker may repeat
        device.born(_7=nonce, _14=board.hardware)
    for nonce in NONCES[2:7]:  # reboots
        device.born(_7=nonce, _14=board.hardware)
        eventually(lambda nonce=nonce: server.shown(board.id)["nonce"] == nonce.hex())
    assert not alarms(server, board.id)
    for nonce in (NONCES[5], NONCES[6], NONCES[5]):
        device.born(_7=nonce, _14=board.hardware)
    eventually(lambda: ("cloned", "two-boards") in alarms(server, board.id))


# ---------------------------------------------------------------- the record of it


def test_the_audit_log_tells_it(server, store):
    claim, board = new_claim(server, store), Board()
    board.enrol(server, claim)
    server.api("POST", f"/devices/{board.id}/revoke")
    entries = server.api("GET", "/audit?limit=3")["entries"]
    assert [(entry["action"], entry["subject"]) for entry in entries] == [
        ("device.revoke", board.id),
        ("device.enrol", board.id),
        ("claim.new", claim.id.hex()),
    ]
    assert entries[1]["actor"] == f"claim:{claim.id.hex()}"


def test_a_database_of_before_takes_the_new_columns_and_gives_them_back(tmp_path: Path):
    """Migration 0008, both ways, with a device in it."""
    engine, move = old_database.make(tmp_path)

    move(command.upgrade, "0007")
    with engine.begin() as db:
        db.execute(
            text(
                "insert into device (id, board, product, password_hash, created_at, protocol, online, trial) "
                "values ('gw-1', 'unix', 'p', 'x', 1, 'mqtt', 0, 0)"
            )
        )
    move(command.upgrade, "0008")
    with engine.begin() as db:
        row = db.execute(text("select name, key, revoked_at, past_nonces from device")).one()
        assert tuple(row) == (None, None, None, "")
    move(command.downgrade, "0007")
    with engine.begin() as db:
        assert db.execute(text("select id from device")).scalar() == "gw-1"
        assert not db.execute(text("select 1 from sqlite_master where name = 'claim'")).all()
    move(command.upgrade, "head")
    engine.dispose()
