"""`tidegate tls`, and what of its files is put on a board."""

from __future__ import annotations

import json
import ssl
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tidegate.cli import main
from tidegate.errors import TidegateError
from tidegate.flash import loader_files
from tidegate.trust import certificates


def run(*words: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tls"
    run("tls", "authority", "--dir", made)
    run("tls", "server", "--dir", made, "gate.example", "192.0.2.1", "2001:db8::1")
    run("tls", "device", "--dir", made, "gate-1")
    return made


def chain_is_good(folder: Path, name: str, purpose: ssl.Purpose) -> bool:
    """OpenSSL's opinion, by a handshake in memory; the other side is the server or gate-1."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours = name if purpose is ssl.Purpose.SERVER_AUTH else "server"
    server.load_cert_chain(folder / f"{ours}.crt", folder / f"{ours}.key")
    client.load_verify_locations(folder / "ca.crt")
    server.load_verify_locations(folder / "ca.crt")
    if purpose is ssl.Purpose.CLIENT_AUTH:
        server.verify_mode = ssl.CERT_REQUIRED
        client.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    here = client.wrap_bio(pipes[0], pipes[1], server_hostname="gate.example")
    there = server.wrap_bio(pipes[2], pipes[3], server_side=True)
    for _ in range(6):
        for end in (here, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
            pipes[2].write(pipes[1].read())
            pipes[0].write(pipes[3].read())
    return there.version() is not None and here.version() is not None


def test_what_is_issued_is_good_for_its_purpose_and_no_other(folder: Path) -> None:
    assert chain_is_good(folder, "server", ssl.Purpose.SERVER_AUTH)
    assert chain_is_good(folder, "gate-1", ssl.Purpose.CLIENT_AUTH)
    assert not chain_is_good(folder, "gate-1", ssl.Purpose.SERVER_AUTH)
    assert not chain_is_good(folder, "server", ssl.Purpose.CLIENT_AUTH)


def test_keys_are_private_and_nothing_is_overwritten(folder: Path) -> None:
    for key in folder.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = (folder / "ca.key").read_bytes()
    assert "exists" in run("tls", "authority", "--dir", folder, code=1)
    assert (folder / "ca.key").read_bytes() == before


def test_wrong_names_are_refused(folder: Path) -> None:
    run("tls", "server", "--dir", folder, code=2)
    run("tls", "device", "--dir", folder, "server", code=2)
    run("tls", "device", "--dir", folder, "../x", code=2)
    assert "does not exist" in run("tls", "device", "--dir", folder / "none", "gate-2", code=1)


def test_authorities_for_a_board(folder: Path, tmp_path: Path) -> None:
    pem = (folder / "ca.crt").read_bytes()
    der = certificates.authorities_der(folder / "ca.crt")
    assert x509.load_der_x509_certificate(der) == x509.load_pem_x509_certificate(pem)
    (tmp_path / "ca.der").write_bytes(der)
    assert certificates.authorities_der(tmp_path / "ca.der") == der
    other = certificates.authority("the next one")
    (tmp_path / "two.pem").write_bytes(pem + other.pem())
    assert certificates.authorities_der(tmp_path / "two.pem") == der + other.certificate.public_bytes(
        serialization.Encoding.DER
    )


@pytest.mark.parametrize("name", ["server.crt", "ca.key", "nothing"])
def test_what_is_no_authority_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(TidegateError):
        certificates.authorities_der(folder / name)


def test_a_device_gets_its_own_certificate_only(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"device": "gate-1"}))
    pair = folder / "gate-1.crt", folder / "gate-1.key"
    files = loader_files.settings(None, config, None, folder / "ca.crt", pair)
    assert set(files) == {"/tg/config.json", "/tg/ca.der", "/tg/client.der", "/tg/client-key.der"}
    assert all(data[0] == 0x30 for name, data in files.items() if name.endswith(".der"))
    with pytest.raises(TidegateError, match="no"):
        certificates.client_der(folder / "gate-1.crt", folder / "server.key")
    config.write_text(json.dumps({"device": "gate-2"}))
    with pytest.raises(TidegateError, match="'gate-1'.*'gate-2'"):
        loader_files.settings(None, config, None, folder / "ca.crt", pair)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"payloads": "http://x/"}, False),
        ({"payloads": "https://x/"}, True),
        ({"mqtt": {"tls": True}}, True),
        ({"mqtt": {"tls": False}, "payloads": "http://x/"}, False),
        ({"mqtt": 5}, False),
    ],
)
def test_settings_that_need_somebody_to_trust(config: dict, wanted: bool) -> None:
    assert loader_files.wants_tls(json.dumps(config).encode()) is wanted
