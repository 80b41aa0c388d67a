"""Certificates for test_tls_context.py, as the host puts them on a board."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tidegate.trust import certificates

PIECE = 200


@contextlib.contextmanager
def serve(host: str) -> Iterator[dict[str, str]]:
    first, second = certificates.authority("one"), certificates.authority("two")
    client, other = certificates.issue_device(first, "gate-1"), certificates.issue_device(first, "gate-2")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, issued in (("ca", first), ("client", client), ("other", other)):
            issued.save(folder / f"{file}.crt", folder / f"{file}.key")
        (folder / "both.pem").write_bytes(first.pem() + second.pem())
        pair = certificates.client_der(folder / "client.crt", folder / "client.key")
        wrong = certificates.client_der(folder / "other.crt", folder / "other.key")
        found = {
            "ca": certificates.authorities_der(folder / "ca.crt").hex(),
            "both": certificates.authorities_der(folder / "both.pem").hex(),
            "client": pair[0].hex(),
            "key": pair[1].hex(),
            "other_key": wrong[1].hex(),
        }
        # In pieces: the unix port takes no argument of more than 255 bytes.
        yield {
            f"{name}{at // PIECE}": text[at : at + PIECE]
            for name, text in found.items()
            for at in range(0, len(text), PIECE)
        }
