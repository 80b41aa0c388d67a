"""TLS of this server: its certificate, and whose certificates it takes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import TidegateError

HANDSHAKE_TIMEOUT_S = 20.0  # a small board computes for seconds; a peer that stalls costs one open connection
# ChaCha20 first: it is several times cheaper than AES for a core that has no AES in hardware, and for ours no dearer.
CIPHERS = "ECDHE+CHACHA20:ECDHE+AESGCM"  # of TLS 1.2; those of 1.3 are all good


@dataclass(frozen=True)
class Tls:
    """The certificate and key of the server, files in PEM.

    certificate: the server's, with those between it and its authority below it. client_ca: gateways must show a
    certificate of this authority, with their id as its common name.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For listening. Raises TidegateError when the files are unusable."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise TidegateError(
                f"the TLS certificate {self.certificate} with the key {self.key} cannot be used: {_why(error)}",
                "Name PEM files that belong together; tidegate tls server makes such",
            ) from error
        if self.client_ca is not None:
            load_authority(context, self.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL  # people and the server itself log in without; devices: Access
        return context

    def own_client(self) -> ssl.SSLContext:
        """For this server's own connection to itself: it takes exactly its own certificate, whatever name it has."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        load_authority(context, self.certificate)
        return context


def client_of(authority: Path | None) -> ssl.SSLContext:
    """For connecting to others: the system's authorities, or only this one."""
    if authority is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authority(context, authority)
    return context


def load_authority(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(file)
    except OSError as error:
        raise TidegateError(
            f"the certificate of the authority {file} cannot be used: {_why(error)}", "Name a PEM file"
        ) from error


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
