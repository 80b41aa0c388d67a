"""Who the simulated devices are: ids, broker passwords and keys of their own, as an operator gets them from a server.

They are registered over the server's API and kept in a file, since a server shows a password once. The next run takes
them from there.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tidegate import json_text
from tidegate.client import Server, ServerError
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.simulate.scenario import Fleet

MAX_FILE = 64 * 1024 * 1024
_KIND = "tidegate-simulated-fleet"
_AT_ONCE = 4  # requests
_SAVE_EACH = 500  # devices: what is lost if this is killed
_CONFLICT = 409
_PREFIX_REMEDY = "Name the file that has its password (--accounts), or another --prefix"

Opened = Callable[[], Server]


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


def load(path: Path) -> dict[str, Account]:
    """The accounts in this file; none if there is no such file."""
    if not path.exists():
        return {}
    try:
        found = json_text.loads(read_limited(path, MAX_FILE, "file of accounts"))
        if found["kind"] != _KIND:
            raise ValueError("it is another kind of file")
        return {one["id"]: Account(**one) for one in found["devices"]}
    except (ValueError, KeyError, TypeError) as error:
        raise TidegateError(
            f"{path} is not a file of simulated devices: {error}", "Name another one with --accounts"
        ) from error


def save(path: Path, accounts: Sequence[Account]) -> None:
    document = {"kind": _KIND, "devices": [asdict(one) for one in accounts]}
    write_atomic(path, json.dumps(document).encode() + b"\n", mode=0o600)


def prepare(
    opened: Opened,
    wanted: Sequence[str],
    fleet: Fleet,
    path: Path,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[Account]:
    """The accounts of these devices: those in the file, and the others registered now and added to it."""
    known = load(path)
    missing = [name for name in wanted if name not in known]
    lock = threading.Lock()
    local = threading.local()

    def register(name: str) -> None:
        server = getattr(local, "server", None) or opened()
        local.server = server
        account = _register(server, name, fleet)
        with lock:
            known[name] = account
            done = len(wanted) - len(missing) + sum(one in known for one in missing[:0]) + (len(known) - before)
            progress(done, len(wanted), name)
            if (len(known) - before) % _SAVE_EACH == 0:
                save(path, list(known.values()))

    before = len(known)
    if missing:
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for _ in pool.map(register, missing):
                    pass
        finally:
            save(path, list(known.values()))
    return [known[name] for name in wanted]


def _register(server: Server, name: str, fleet: Fleet) -> Account:
    try:
        answer = server.add_device(name, fleet.board, fleet.product)
    except ServerError as error:
        if error.status == _CONFLICT:
            raise TidegateError(f"{error.message}, and its password is not known here", _PREFIX_REMEDY) from error
        raise
    return Account(name, answer["mqtt"]["password"], secrets.token_hex(32))
