#!/usr/bin/env python3
"""What TLS costs the emulated Cortex-M3: instructions and memory of handshakes, instructions a byte.

    make bench-tls      or: python bench/tls.py [--json] [--firmware FILE]

QEMU counts instructions, and only the calls into TLS are counted, not the waiting between them: the figures vary by a
few in a thousand, as keys and signatures do. "own memory" is the arena that TLS has outside the Python heap
(boards/qemu_mps2/src/tls.c); the peak includes what the context holds. The server is OpenSSL.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "board" / "support")]

from board_prompt import Prompt  # noqa: E402
from tls_peers import NAME, Peer, Pki, closing, der, key_der, secured  # noqa: E402

from tidegate.boards.emulator import Emulator  # noqa: E402
from tidegate.trust import certificates  # noqa: E402

BOARD_HALF = ROOT / "bench" / "tls_board.py"
BULK = 16 * 1024
KEYS: dict[str, Callable[[], certificates.PrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
}
CIPHERS = {
    "ChaCha20-Poly1305": "ECDHE+CHACHA20",
    "AES-128-GCM": "ECDHE+AESGCM+AES128",
    "AES-256-GCM": "ECDHE+AESGCM+AES256",
}


@contextlib.contextmanager
def serving(context: ssl.SSLContext, data: bytes = b"") -> Iterator[Peer]:
    """Sends `data` to whoever comes and takes what is sent."""

    def serve(client: ssl.SSLSocket) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            client.sendall(data)
            while client.recv(65536):
                pass

    peer = secured(context, serve)
    with closing(peer):
        yield peer


def measure(firmware: Path | None) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        pki = Pki(folder)
        with Emulator(folder / "flash", count_instructions=True, firmware=firmware) as board:
            repl = Prompt(board.pty)
            repl.exec(BOARD_HALF.read_text() + "\nup()")
            authorities = {kind: certificates.authority("bench", key=make()) for kind, make in KEYS.items()}
            for kind, authority in authorities.items():
                repl.exec(f"trusting, heap, own = context({der(authority)!r})")
                heap, own = repl.eval("heap, own")
                rows[f"context that trusts a {kind} authority"] = {"heap": heap, "own": own}
                issued = certificates.issue_server(authority, [NAME], key=authority.key)
                with serving(pki.context(issued)) as peer:
                    repl.exec(f"handshake(trusting, {peer.port})")  # what is made once
                    count, peak, own, heap = repl.eval(f"handshake(trusting, {peer.port})")
                rows[f"handshake, {kind} all through"] = {
                    "instructions": count, "heap": heap, "own": own, "peak": peak
                }  # fmt: skip
            own = certificates.issue_device(pki.authority, "gate-1")
            repl.exec(f"trusting, heap, own = context({der(pki.authority)!r}, {der(own)!r}, {key_der(own)!r})")
            with serving(pki.context(pki.server, pki.ca)) as peer:
                count, peak, own, heap = repl.eval(f"handshake(trusting, {peer.port})")
            rows["handshake, P-256, client certificate too"] = {
                "instructions": count, "heap": heap, "own": own, "peak": peak
            }  # fmt: skip
            with serving(pki.context(pki.server)) as peer:
                rows["second connection beside one, P-256"] = {"peak": repl.eval(f"both(trusting, {peer.port})")}
            for cipher, suite in CIPHERS.items():
                context = pki.context(pki.server)
                context.set_ciphers(suite)
                with serving(context, bytes(BULK)) as peer:
                    inwards, outwards = repl.eval(f"bulk(trusting, {peer.port}, {BULK})")
                rows[f"a byte in, {cipher}"] = {"instructions": round(inwards)}
                rows[f"a byte out, {cipher}"] = {"instructions": round(outwards)}
            repl.close()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--firmware", type=Path, help="another build of the board's firmware")
    arguments = parser.parse_args()
    socket.setdefaulttimeout(60)
    rows = measure(arguments.firmware)
    if arguments.json:
        print(json.dumps(rows))
        return 0
    print(f"{'':44} {'instructions':>12} {'heap, B':>9} {'own memory, B':>14} {'its peak, B':>12}")
    for name, row in rows.items():
        columns = zip(("instructions", "heap", "own", "peak"), (12, 9, 14, 12), strict=True)
        cells = [f"{'' if row.get(key) is None else format(row[key], ',.0f'):>{width}}" for key, width in columns]
        print(f"{name:44} {' '.join(cells)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
