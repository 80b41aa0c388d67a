"""Certificates for TLS: a private authority, the certificates it issues, and their form on a board.

A fleet's gateways trust one small authority, not the world's: only who has its key file can impersonate the server.
Keys are P-256: small in a board's memory and on the wire; docs/tls.md has the cost of others.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic

AUTHORITY_DAYS = 20 * 365  # boards get it by flashing: it should outlive them
SERVER_DAYS = 825
DEVICE_DAYS = 20 * 365
MAX_FILE = 16 * 1024
BACKDATED = datetime.timedelta(hours=1)  # for peers whose clocks are a little slow

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    def save(self, certificate: Path, key: Path) -> None:
        """Write both as PEM, the key readable by its owner only. Nothing is overwritten."""
        for path in (certificate, key):
            if path.exists():
                raise TidegateError(f"{path} exists", "Name another file; nothing is ever overwritten")
        certificate.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(key, self.key_pem(), mode=0o600)
        write_atomic(certificate, self.pem())

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True)
class Lifetime:
    """From when to when a certificate is valid."""

    start: datetime.datetime
    end: datetime.datetime

    @classmethod
    def of(cls, days: int) -> Lifetime:
        now = datetime.datetime.now(datetime.UTC)
        return cls(now - BACKDATED, now + datetime.timedelta(days=days))


def authority(name: str, lifetime: Lifetime | None = None, key: PrivateKey | None = None) -> Issued:
    """A new certificate authority, which signs end-entity certificates only."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = (
        _builder(subject, subject, key, lifetime or Lifetime.of(AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )
    return Issued(builder.sign(key, hashes.SHA256()), key)


def issue_server(
    issuer: Issued, names: Sequence[str], lifetime: Lifetime | None = None, key: PrivateKey | None = None
) -> Issued:
    """A server's certificate for these DNS names and IP addresses, which clients compare with what they connect to."""
    if not names:
        raise TidegateError("a server's certificate needs a name", "Name the host or address that devices connect to")
    builder = _leaf(issuer, names[0], lifetime or Lifetime.of(SERVER_DAYS), key := key or _new_key())
    builder = builder.add_extension(
        x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
    ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return Issued(builder.sign(issuer.key, hashes.SHA256()), key)


def issue_device(
    issuer: Issued, device: str, lifetime: Lifetime | None = None, key: PrivateKey | None = None
) -> Issued:
    """A device's certificate; its common name is the device's id, which the broker compares with the MQTT user."""
    builder = _leaf(issuer, device, lifetime or Lifetime.of(DEVICE_DAYS), key := key or _new_key())
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return Issued(builder.sign(issuer.key, hashes.SHA256()), key)


def load(certificate: Path, key: Path) -> Issued:
    """A certificate and its key from PEM or DER files."""
    [first, *_] = _certificates(certificate)
    secret = _key(key)
    if secret.public_key() != first.public_key():
        raise TidegateError(f"{key} is not the key of {certificate}", "Name the two files that belong together")
    return Issued(first, secret)


# ------------------------------------------------------------------ the form on a board


def authorities_der(file: Path) -> bytes:
    """All certificates of a PEM or DER file as DER, one after the other; each must be an authority's."""
    found = _certificates(file)
    for certificate in found:
        try:
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            constraints = None
        if constraints is None or not constraints.ca:
            raise TidegateError(
                f"{file} holds the certificate of {certificate.subject.rfc4514_string()}, which is not an authority",
                "Name the certificate of the authority that issued the server's (such as ca.crt)",
            )
    return b"".join(_der(certificate) for certificate in found)


def client_der(certificate: Path, key: Path, device: str | None = None) -> tuple[bytes, bytes]:
    """A device's certificate and key as DER; `device` must be its common name, if it is given."""
    issued = load(certificate, key)
    name = common_name(issued.certificate)
    if device is not None and name != device:
        raise TidegateError(
            f"{certificate} is for {name!r}, the device is {device!r}", "Name the certificate of this device"
        )
    secret = issued.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return _der(issued.certificate), secret


def common_name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


# ------------------------------------------------------------------ below


def _new_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _subject(name: str) -> x509.Name:
    if not 0 < len(name) <= 64:
        raise TidegateError(f"{name!r} cannot be a certificate's name", "Use 1 to 64 characters")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise TidegateError(f"{name!r} is neither a host name nor an address", "Write it in ASCII") from None


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey, lifetime: Lifetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(lifetime.start)
        .not_valid_after(lifetime.end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _leaf(issuer: Issued, name: str, lifetime: Lifetime, key: PrivateKey) -> x509.CertificateBuilder:
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return (
        _builder(_subject(name), issuer.certificate.subject, key, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(by, critical=False)
    )


def _usage(digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _certificates(file: Path) -> list[x509.Certificate]:
    data = read_limited(file, MAX_FILE, "certificate")
    try:
        return (
            x509.load_pem_x509_certificates(data) if b"-----BEGIN" in data else [x509.load_der_x509_certificate(data)]
        )
    except ValueError as error:
        raise TidegateError(f"{file} holds no certificate: {error}", "Name a PEM or DER file") from error


def _key(file: Path) -> PrivateKey:
    data = read_limited(file, MAX_FILE, "private key")
    load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    try:
        found = load(data, None)
    except (ValueError, TypeError) as error:
        raise TidegateError(
            f"{file} holds no private key that can be read: {error}", "Name a PEM or DER file without a passphrase"
        ) from error
    if not isinstance(found, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise TidegateError(f"{file} holds a key of another kind", "Boards know P-256, P-384 and RSA")
    return found
