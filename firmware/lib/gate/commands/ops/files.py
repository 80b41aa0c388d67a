"""Opcodes about files. Neither secrets nor their digests are shown: in the device's own folder
only files known to be harmless are read, and nowhere files that are named like a key.
"""

import hashlib
import os

from gate.clock import const

_MOST_NAMES = const(256)
_PIECE = const(512)  # bytes
_FOLDER = const(0x4000)
# Readable in the device's folder; the rest is secret.
_OPEN = "config.json boot.json trust.cbor trust-copy.cbor ca.der client.der time state slots log "
_OPEN += "telemetry data"
_SECRET = ("key", "claim", "secret", "credential", "password", "token")


class NotShown(Exception):
    pass


async def ls(call, path):
    """One line per entry: size and name; for a folder its name alone, with a / after it."""
    path = _plain(path)
    entries = sorted(os.listdir(path))
    for name in entries[:_MOST_NAMES]:
        found = os.stat(path.rstrip("/") + "/" + name)
        if found[0] & _FOLDER:
            call.write("%8s %s/\n" % ("", name))
        else:
            call.write("%8d %s\n" % (found[6], name))
        await call.pause()
    return {"entries": len(entries)}


def stat(call, path):
    path = _plain(path)
    found = os.stat(path)
    answer = {"path": path, "folder": bool(found[0] & _FOLDER), "size": found[6]}
    space = os.statvfs(path)
    answer["free"] = space[0] * space[3]
    return answer


async def cat(call, path, offset, size):
    """Part of a file, as text; other bytes as \\xNN."""
    path = _readable(call, path)
    total = os.stat(path)[6]
    rest = b""
    while size:
        with open(path, "rb") as file:  # each time: it may be replaced meanwhile
            file.seek(min(offset, total))
            piece = file.read(min(_PIECE, size))
        size -= len(piece)
        offset += len(piece)
        rest = _say(call, rest + piece, not piece or not size)
        if not piece:
            break
        await call.pause()
    return {"path": path, "size": total}


async def hash_(call, path):
    path = _readable(call, path)
    check = hashlib.sha256()
    buffer = bytearray(_PIECE)
    size = 0
    with open(path, "rb") as file:
        while True:
            count = file.readinto(buffer)
            if not count:
                break
            check.update(memoryview(buffer)[:count])
            size += count
            if not size % (16 * _PIECE):
                await call.pause()
    digest = check.digest().hex()
    return {"path": path, "size": size, "sha256": digest}


def _say(call, data, last):
    """Writes bytes; returns those that may be the beginning of a character."""
    keep = 0
    if not last:
        while keep < 3 and keep < len(data) and data[-1 - keep] & 0xC0 == 0x80:
            keep += 1
        keep = keep + 1 if keep < len(data) and data[-1 - keep] & 0xC0 == 0xC0 else 0
    text = data[: len(data) - keep]
    try:
        call.write(str(text, "utf-8").replace("\0", "\\x00"))
    except UnicodeError:
        for byte in text:
            call.write(chr(byte) if 32 <= byte < 127 or byte in b"\n\r\t" else "\\x%02x" % byte)
    return data[len(data) - keep :]


def _plain(path):
    """The absolute path without . and .., which could lead out of a mounted folder."""
    parts = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _readable(call, path):
    """The plain path of a file that may be shown; raises NotShown."""
    path = _plain(path)
    own = call.agent.boot.board.folder
    # Some file systems ignore case.
    inside = path[len(own) + 1 :].split("/") if path.lower().startswith(own + "/") else None
    name = path.lower()  # of the folders, too
    if inside and inside[0] not in _OPEN.split():
        raise NotShown("%s may hold secrets" % path)
    if any(word in name for word in _SECRET) or name.endswith(".pem"):
        raise NotShown("%s is named like a secret" % path)
    return path
