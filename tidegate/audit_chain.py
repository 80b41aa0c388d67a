"""The audit log's chain, and witnesses of it: what makes an edited, cut or recomputed log show.

Every entry's hash covers the one before, so the newest hash, the head, stands for all of the log. Whoever can write the
server's database can make the whole chain again; what they cannot reach is a head that another machine wrote down. A
witness is a file of such heads, one JSON object a line, which only grows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tidegate import json_text, user_folder
from tidegate.errors import TidegateError
from tidegate.files import read_limited

GENESIS = "0" * 64
WITNESS = "TIDEGATE_WITNESS"  # names a file of heads
MAX_WITNESS = 64 * 1024 * 1024  # bytes of a file of heads
_DIGITS = frozenset("0123456789abcdef")


class Entry(NamedTuple):
    """One act. at: ms since 1970."""

    id: int
    at: int
    actor: str
    action: str
    subject: str
    detail: Any
    hash: str


class Head(NamedTuple):
    """The newest entry at some time: its id and hash, when and of which server it was seen (for people)."""

    id: int
    hash: str
    seen: str = ""
    server: str = ""


def entry_hash(previous: str, at: int, actor: str, action: str, subject: str, detail: Any) -> str:
    """The hash of an entry, in hex, over that of the one before and all that the entry says."""
    body = json.dumps([previous, at, actor, action, subject, detail], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(body.encode()).hexdigest()


def verify(entries: Iterable[Entry], heads: Iterable[Head]) -> Head | None:
    """Check that `entries`, all from the first on, are a whole chain and that each of `heads` is in it.

    Returns the newest entry's head, None for an empty log. TidegateError names the first entry that is wrong.
    """
    expected: dict[int, Head] = {}
    for head in heads:
        known = expected.setdefault(head.id, head)
        if known.hash != head.hash:
            raise TidegateError(
                f"entry {head.id} of the audit log was seen with two hashes, on {known.seen} and {head.seen}",
                "The server showed two logs, or an old copy was restored; compare it with a backup",
            )
    previous, last, left = GENESIS, 0, dict(expected)
    for entry in entries:
        if entry.id <= last:
            raise TidegateError(
                f"entry {entry.id} of the audit log comes after entry {last}", "Compare it with a backup"
            )
        hashed = entry_hash(previous, entry.at, entry.actor, entry.action, entry.subject, entry.detail)
        if hashed != entry.hash:
            raise TidegateError(f"the audit log is broken at entry {entry.id}", "Compare it with a backup")
        head = left.pop(entry.id, Head(entry.id, hashed))
        if head.hash != hashed:
            raise TidegateError(
                f"the audit log was made anew: entry {entry.id} is another one than on {head.seen}",
                "Somebody changed the log at or before this entry; compare it with a backup",
            )
        previous, last = hashed, entry.id
    if left:
        head = min(left.values())
        raise TidegateError(
            f"the audit log was cut: entry {head.id}, seen on {head.seen}, is missing", "Compare it with a backup"
        )
    return Head(last, previous) if last else None


# ------------------------------------------------------------------ files of heads


def read(file: Path) -> list[Head]:
    """The heads in a witness file; an unfinished last line, of a writer that was killed, does not count."""
    data = read_limited(file, MAX_WITNESS, "witness")
    lines = data.split(b"\n")[:-1]
    return [_head(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def append(file: Path, head: Head, server: str) -> None:
    """Add a head, unless the last line is that one. Raises OSError."""
    with file.open("ab+") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, end - 4096))
        *_, before, rest = (b"\n" + stream.read()).rsplit(b"\n", 2) if end else (b"", b"")
        if rest:  # an unfinished line
            stream.write(b"\n")
        elif before and f'"hash": "{head.hash}"'.encode() in before:
            return
        seen = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        line = json.dumps({"id": head.id, "hash": head.hash, "seen": seen, "server": server})
        stream.write(line.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def own_file(server: str) -> Path:
    """Where this user's heads of a server (an address, or a data folder) are."""
    name = hashlib.sha256(server.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return user_folder.path(f"audit-{name}.heads")


def note(server: str, head: Head, file: Path | None = None) -> None:
    """Add a head to this user's own file, or to another. Where that cannot be written, the work goes on without."""
    try:
        file = file or own_file(server)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        append(file, head, server)
    except OSError:
        pass


def own_heads(server: str) -> list[Head]:
    """This user's heads of a server, none if there is no file."""
    file = own_file(server)
    return read(file) if file.exists() else []


def parse_header(text: str) -> Head | None:
    """The head in the answer header Tidegate-Audit, "ID HASH"; None for anything else."""
    number, _, hashed = text.partition(" ")
    if not (number.isascii() and number.isdigit() and len(number) < 17 and is_hash(hashed)):
        return None
    return Head(int(number), hashed)


def is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= _DIGITS


def _head(file: Path, number: int, line: bytes) -> Head:
    try:
        found = json_text.loads(line)
        head = Head(found["id"], found["hash"], str(found.get("seen", "?"))[:40], str(found.get("server", ""))[:200])
        if type(head.id) is not int or not is_hash(head.hash):
            raise ValueError("is not a head")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TidegateError(
            f"{file}, line {number}, is damaged", "Name a file that `tidegate audit verify` wrote"
        ) from error
    return head


def of_answer(entries: Iterable[dict[str, Any]]) -> Iterator[Entry]:
    """Entries as GET /api/v1/audit gives them."""
    for one in entries:
        at = datetime.fromisoformat(one["at"])
        ms = round((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
        yield Entry(one["id"], ms, one["actor"], one["action"], one["subject"], one["detail"], one["hash"])
