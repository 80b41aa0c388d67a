"""Who the simulated devices are: ids, broker passwords and keys of their own, as an operator gets them from a server.

They are registered over the server's API and kept in a file, since a server shows a password once. The next run takes
them from there.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tidegate import json_text
from tidegate.client.server import Server
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.registration import batches
from tidegate.registration.credentials import Credentials
from tidegate.registration.lists import Listed
from tidegate.simulate.scenario import Fleet

MAX_FILE = 64 * 1024 * 1024
_KIND = "tidegate-simulated-fleet"
_PREFIX_REMEDY = "Name the file that has its password (--accounts), or another --prefix"


@dataclass(frozen=True)
class Account:
    """seed: of the board's own key, 32 bytes in hex; None: not registered yet."""

    id: str
    password: str = field(repr=False)
    seed: str = field(repr=False)

    @property
    def hardware(self) -> bytes:
        """The fingerprint of a unique id that this board would have."""
        return hashlib.sha256(b"simulated" + self.id.encode()).digest()[:8]


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:05d}" for number in range(1, count + 1)]


@dataclass
class Book:
    """What the file holds. request: goes with each registration, so that an answer that got lost comes again."""

    accounts: dict[str, Account] = field(default_factory=dict)
    request: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


def load(path: Path) -> Book:
    """The accounts in this file; none if there is no such file."""
    if not path.exists():
        return Book()
    try:
        found = json_text.loads(read_limited(path, MAX_FILE, "file of accounts"))
        if found["kind"] != _KIND:
            raise ValueError("it is another kind of file")
        book = Book({one["id"]: Account(**one) for one in found["devices"]})
        book.request = found.get("request", book.request)
        return book
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TidegateError(
            f"{path} is not a file of simulated devices: {error}", "Name another one with --accounts"
        ) from error


def save(path: Path, book: Book) -> None:
    document = {"kind": _KIND, "request": book.request, "devices": [asdict(one) for one in book.accounts.values()]}
    write_atomic(path, json.dumps(document).encode() + b"\n", mode=0o600)


def prepare(
    server: Server,
    wanted: Sequence[str],
    fleet: Fleet,
    path: Path,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[Account]:
    """The accounts of these devices: those in the file, and the others registered now and added to it."""
    book = load(path)
    missing = [Listed(name, fleet.board, fleet.product) for name in wanted if name not in book.accounts]

    def filed(found: list[Credentials]) -> None:
        for one in found:
            book.accounts[one.user] = Account(one.user, one.password, secrets.token_hex(32))
        save(path, book)

    if missing:
        save(path, book)
        known = batches.register(server, book.request, missing, filed, progress)
        if known:
            raise TidegateError(f"{known[0]} is already registered, and its password is not known here", _PREFIX_REMEDY)
    return [book.accounts[name] for name in wanted]
