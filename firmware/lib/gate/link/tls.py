"""TLS as it was flashed: whom the device trusts, by what certificate it is known, and what time it
is at least (docs/tls.md). Imported on demand, only where the settings ask for TLS.

All in the agent's folder, certificates as DER: ca.der, one or more authorities; client.der and
client-key.der, optional; time, seconds since 1970.
"""

import os
import ssl

from gate import ConfigError, console
from gate.clock import const

_MAX_SIZE = const(8192)  # bytes of a file
_DAY = const(86400)  # s; a later time is stored only if it is later by so much: flash wears


def context(board):
    """An SSLContext that takes servers of the flashed authorities only, under the name they are
    connected to. Tells the board what time it is. Raises ConfigError.
    """
    if hasattr(board, "know_time"):
        board.know_time(_kept(board.folder))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_mode = ssl.CERT_REQUIRED
    path = board.folder + "/ca.der"
    data = _read(path)
    if not data:
        raise _wrong(path, "is missing", "--ca")
    try:
        for part in _split(data):
            made.load_verify_locations(part)
    except ValueError:
        raise _wrong(path, "holds no certificate", "--ca")
    path = board.folder + "/client.der"
    certificate = _read(path)
    if certificate:
        try:
            made.load_cert_chain(certificate, _read(board.folder + "/client-key.der") or b"")
        except (ValueError, OSError):
            raise _wrong(path, "and client-key.der are no pair", "--client-cert")
    return made


def know_time(board, seconds):
    """A signer says that it is at least so many seconds after 1970. Stored over resets."""
    if not hasattr(board, "know_time"):
        return  # it has a clock
    if seconds >> 32:  # after 2106: nonsense, on which a board's clock may raise
        return
    board.know_time(seconds)
    if seconds < _kept(board.folder) + _DAY:
        return
    path = board.folder + "/time"
    try:
        with open(path + ".new", "w") as file:
            file.write(str(seconds))
        os.rename(path + ".new", path)
    except OSError as error:
        console.error("%s cannot be written: %r", path, error)


def _kept(folder):
    try:
        return int(_read(folder + "/time") or b"0")
    except ValueError:  # damaged: as good as none
        return 0


def _read(path):
    """The file's bytes, or None if there is none (or it is too large to be ours)."""
    try:
        if os.stat(path)[6] > _MAX_SIZE:
            return None
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _split(data):
    """The DER objects that follow one another in data (X.690 section 8.1)."""
    at = 0
    while at < len(data):
        head = data[at : at + 4]
        if len(head) < 4 or head[0] != 0x30 or head[1] != 0x82:
            raise ValueError("no sequence of a certificate's size")
        size = 4 + (head[2] << 8 | head[3])
        yield data[at : at + size]
        at += size


def _wrong(path, what, option):
    return ConfigError("%s %s; flash it again (tidegate flash %s)" % (path, what, option))
