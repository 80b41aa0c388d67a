"""The board's `ssl`: what it takes and what it refuses, what it says then, and that nothing is left behind."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import board_network
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tls_peers import HOST, NAME, Peer, Pki, between, closing, der, hang_up, key_der, plain, secured

from tidegate.boards.emulator import Emulator
from tidegate.trust import certificates

UP = (
    board_network.UP
    + board_network.TRUST
    + """
import gc, hashlib, mps2, socket, ssl


def talk(context, port, name, text=b'hello'):
    s = socket.socket()
    try:
        s.connect(('10.0.2.2', port))
        t = context.wrap_socket(s, server_hostname=name)
        t.write(text)
        said = t.read(len(text)), t.cipher()[0]
        t.close()
        return said
    except (OSError, ValueError) as error:
        return repr(error)
    finally:
        s.close()
"""
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def repl(shared, pki: Pki):
    """A prompt on a board with the network up and `fleet`, a context that trusts the authority."""
    shared.exec(UP)
    shared.exec(f"fleet = trust({der(pki.authority)!r})")
    return shared


@pytest.fixture
def nothing_left(repl) -> Iterator[None]:
    """What a test has taken of TLS's memory it has given back, and of the heap."""
    before = repl.eval("(gc.collect(), mps2.tls_memory()[1], gc.mem_alloc())")
    yield
    after = repl.eval("(gc.collect(), mps2.tls_memory()[1], gc.mem_alloc())")
    assert after[1] == before[1]
    assert after[2] - before[2] < 600, "names and constants of the test's own code"


KEYS: dict[str, Callable[[], certificates.PrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA-4096": lambda: rsa.generate_private_key(65537, 4096),
}


@pytest.mark.parametrize("kind", KEYS)
def test_servers_with_keys_of_every_kind(repl, pki: Pki, nothing_left, kind: str) -> None:
    key = KEYS[kind]()
    authority = certificates.authority("another", key=key)
    peer = secured(pki.context(certificates.issue_server(authority, [NAME], key=key)))
    with closing(peer):
        said = repl.eval(f"talk(trust({der(authority)!r}), {peer.port}, {NAME!r})")
    assert said[0] == b"hello"
    assert ("ECDHE-RSA" if "RSA" in kind else "ECDHE-ECDSA") in said[1]
    assert peer.names == [NAME], "the server is told which name is meant"


@pytest.mark.parametrize("suite", ["ECDHE+CHACHA20", "ECDHE+AESGCM+AES128", "ECDHE+AESGCM+AES256"])
def test_every_cipher(repl, pki: Pki, nothing_left, suite: str) -> None:
    context = pki.context(pki.server)
    context.set_ciphers(suite)
    peer = secured(context)
    with closing(peer):
        text, cipher = repl.eval(f"talk(fleet, {peer.port}, {NAME!r}, bytes(300))")
    assert text == bytes(300)
    assert {"ECDHE+CHACHA20": "CHACHA20", "ECDHE+AESGCM+AES128": "AES-128-GCM"}.get(suite, "AES-256-GCM") in cipher


def wrong_authority(pki: Pki) -> Peer:
    return secured(pki.context(certificates.issue_server(pki.stranger, [NAME])))


def wrong_name(pki: Pki) -> Peer:
    return secured(pki.context(certificates.issue_server(pki.authority, ["gate.example.org", "10.0.2.3"])))


def another_gateway(pki: Pki) -> Peer:
    """With the certificate it was issued itself, and an id that is the server's name."""
    return secured(pki.context(certificates.issue_device(pki.authority, NAME)))


def expired(pki: Pki) -> Peer:
    return secured(pki.context(certificates.issue_server(pki.authority, [NAME], between(2015, 2020))))


def signed_by_itself(pki: Pki) -> Peer:
    own = certificates.authority(NAME)
    return secured(pki.context(certificates.issue_server(own, [NAME], key=own.key)))


def old_protocol(pki: Pki) -> Peer:
    context = pki.context(pki.server)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA256")  # no forward secrecy
    return secured(context)


def wants_a_certificate(pki: Pki) -> Peer:
    return secured(pki.context(pki.server, pki.ca))


def endless_records(_pki: Pki) -> Peer:
    def rubbish(client) -> None:
        client.recv(1000)
        for _ in range(100):
            client.sendall(b"\x16\x03\x03\xff\xff" + os.urandom(4096))

    return Peer(rubbish)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (wrong_authority, "not correctly signed by the trusted CA"),
        (signed_by_itself, "not correctly signed by the trusted CA"),
        (wrong_name, "does not match with the expected CN"),
        (another_gateway, "MBEDTLS_ERR_SSL_BAD_CERTIFICATE"),
        (expired, "validity has expired"),
        (old_protocol, "MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE"),
        (wants_a_certificate, "MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE|-30592|-29312|ECONN"),
        (lambda _: Peer(plain), "MBEDTLS_ERR_SSL_INVALID_RECORD|MBEDTLS_ERR_SSL_UNEXPECTED|-29312"),
        (lambda _: Peer(hang_up), "MBEDTLS_ERR_SSL_CONN_EOF|ECONNRESET|104"),
        (endless_records, "MBEDTLS_ERR_SSL_"),
    ],
)
def test_who_is_refused_and_why(repl, pki: Pki, nothing_left, make, why: str) -> None:
    peer, good = make(pki), secured(pki.context(pki.server))
    with closing(peer, good):
        said = repl.eval(f"talk(fleet, {peer.port}, {NAME!r})")
        assert isinstance(said, str), said
        assert re.search(why, said), said
        assert repl.eval(f"talk(fleet, {good.port}, {NAME!r})")[0] == b"hello", "the next one is taken"


def test_an_address_is_a_name_too(repl, pki: Pki, nothing_left) -> None:
    peer = secured(pki.context(pki.server))
    with closing(peer):
        assert repl.eval(f"talk(fleet, {peer.port}, {HOST!r})")[0] == b"hello"
        assert "expected CN" in repl.eval(f"talk(fleet, {peer.port}, '10.0.2.4')")


def test_without_a_name_or_an_authority_there_is_no_connection(repl, pki: Pki, nothing_left) -> None:
    peer = secured(pki.context(pki.server))
    with closing(peer):
        assert "requires server_hostname" in repl.eval(f"talk(fleet, {peer.port}, None)")
        said = repl.eval(f"talk(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), {peer.port}, {NAME!r})")
    assert "CA" in said, "an empty context trusts nobody"


def test_a_client_certificate(repl, pki: Pki, nothing_left) -> None:
    ours = certificates.issue_device(pki.authority, "gate-1")
    theirs = certificates.issue_device(pki.stranger, "gate-1")
    asked: list[str] = []

    def who(client: ssl.SSLSocket) -> None:
        asked.append(str(client.getpeercert()))
        client.sendall(client.recv(100))

    peer = secured(pki.context(pki.server, pki.ca), who)
    call = "talk(trust({ca!r}, {cert!r}, {key!r}), {port}, {name!r})"
    facts = {"ca": der(pki.authority), "port": peer.port, "name": NAME}
    with closing(peer):
        assert repl.eval(call.format(**facts, cert=der(ours), key=key_der(ours)))[0] == b"hello"
        assert "gate-1" in asked[0]
        assert isinstance(repl.eval(call.format(**facts, cert=der(theirs), key=key_der(theirs))), str)
        with pytest.raises(Exception, match="ValueError|OSError"):
            repl.eval(call.format(**facts, cert=der(ours), key=b"0000"))
    assert len(asked) == 1


def test_much_data_in_both_directions(repl, pki: Pki, nothing_left) -> None:
    """The server writes 100 KiB at once: it has been asked for small records, or they would not fit."""
    data = os.urandom(100 * 1024)
    got = hashlib.sha256()

    def bulk(client: ssl.SSLSocket) -> None:
        client.sendall(data)
        size = 0
        while size < 50 * 1000 and (part := client.recv(8192)):
            got.update(part)
            size += len(part)
        client.sendall(b"!")

    peer = secured(pki.context(pki.server), bulk)
    with closing(peer):
        repl.exec(
            f"s = socket.socket(); s.connect(('10.0.2.2', {peer.port}))\n"
            f"t = fleet.wrap_socket(s, server_hostname={NAME!r})\n"
            "buf = bytearray(1000); check = hashlib.sha256(); left = 102400\n"
            "while left:\n"
            "    n = t.readinto(memoryview(buf)[:min(left, 1000)]); check.update(memoryview(buf)[:n]); left -= n\n"
            "for i in range(50): t.write(bytes([i]) * 1000)\n"
            "end = t.read(1); t.close(); del s, t, buf"
        )
        assert repl.eval("check.digest()") == hashlib.sha256(data).digest()
        assert repl.eval("end") == b"!"
    assert got.digest() == hashlib.sha256(b"".join(bytes([i]) * 1000 for i in range(50))).digest()


def test_thirty_connections_leave_nothing(repl, pki: Pki, nothing_left) -> None:
    peer = secured(pki.context(pki.server))
    with closing(peer):
        repl.exec(
            f"def many(count):\n    for _ in range(count): said = talk(fleet, {peer.port}, {NAME!r})\n    return said\n"
        )
        for _ in range(3):
            assert repl.eval("many(10)")[0] == b"hello"


def test_connections_until_the_memory_is_full(repl, pki: Pki, nothing_left) -> None:
    """Then one more is refused, with an error; the others go on, and when they are closed there is room again."""
    peer = secured(pki.context(pki.server))
    with closing(peer):
        repl.exec(
            "def fill():\n"
            "    held, why = [], None\n"
            "    while why is None and len(held) < 7:\n"
            "        s = socket.socket()\n"
            f"        s.connect(('10.0.2.2', {peer.port}))\n"
            f"        try: held.append((fleet.wrap_socket(s, server_hostname={NAME!r}), s))\n"
            "        except (OSError, ValueError) as error: s.close(); why = repr(error)\n"
            "    said = []\n"
            "    for t, s in held: t.write(b'still'); said.append(t.read(5)); t.close()\n"
            "    return len(held), why, said\n"
        )
        held, why, said = repl.eval("fill()")
        assert why, "the memory of TLS is bounded"
        assert held >= 2, "MQTT and HTTPS at once"
        assert said == [b"still"] * held
        assert repl.eval(f"talk(fleet, {peer.port}, {NAME!r})")[0] == b"hello"


def test_time_that_is_known(board: Emulator, prompt, pki: Pki) -> None:
    """A board without a clock: what has ended for sure is refused, what may not have begun is not."""
    soon = secured(pki.context(certificates.issue_server(pki.authority, [NAME], between(2090, 2095))))
    past = secured(pki.context(certificates.issue_server(pki.authority, [NAME], between(2020, 2060))))
    repl = prompt(board)
    repl.exec(UP)
    repl.exec(f"fleet = trust({der(pki.authority)!r})")
    with closing(soon, past):
        assert repl.eval(f"talk(fleet, {soon.port}, {NAME!r})")[0] == b"hello"
        assert repl.eval(f"talk(fleet, {past.port}, {NAME!r})")[0] == b"hello"
        repl.exec("mps2.know_time(2840140800)")  # 2060-01-01
        refused = repl.eval(f"talk(fleet, {past.port}, {NAME!r})")
        assert "expired" in refused and "signed" not in refused
        repl.exec("mps2.know_time(1000)")  # says less than what is known
        assert "expired" in repl.eval(f"talk(fleet, {past.port}, {NAME!r})")


@pytest.mark.parametrize("cpu", ["m4", "m7"])
def test_the_other_cores_have_it_too(tmp_path: Path, prompt, pki: Pki, cpu: str) -> None:
    emulator = Emulator(tmp_path / "flash", cpu=cpu)
    if not emulator.firmware.exists():
        pytest.skip(f"build it: {emulator.settings['build']}")
    peer = secured(pki.context(pki.server))
    with emulator, closing(peer):
        repl = prompt(emulator)
        repl.exec(UP)
        assert repl.eval(f"talk(trust({der(pki.authority)!r}), {peer.port}, {NAME!r})")[0] == b"hello"
