"""A server's payloads, from one store to another."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ota_server.backup import database
from ota_server.backup.archive import Tell, quiet
from ota_server.config import Config
from ota_server.errors import NotFound, Problem
from ota_server.releases.payload_stores import open_store
from ota_server.store import Store
from ota_server.store.models import Payload
from tidegate.errors import TidegateError


@dataclass(frozen=True)
class Copied:
    """Payloads that were brought, and that were there before."""

    copied: int
    there: int


def copy_payloads(source: Config, target: Config, tell: Tell = quiet) -> Copied:
    """Copy every payload that the database of `source` knows; their digests are checked on the way.

    TidegateError for one that is missing or damaged, and if a store does not answer; what came before it stays.
    """
    if database.kind(source.database) == "sqlite" and not database.file_of(source.database).is_file():
        raise TidegateError(f"{source.data} has no database", "Name the server's folder with --data")
    store = Store(source.database)
    try:
        with store.read() as session:
            sizes = {row.digest: row.size for row in session.execute(sa.select(Payload.digest, Payload.size))}
    finally:
        store.close()
    before, after = open_store(source), open_store(target)
    total, done, there = sum(sizes.values()), 0, 0
    for digest, size in sorted(sizes.items()):
        tell(done, total, digest)
        try:
            if after.has(digest) and after.is_sound(digest):
                there += 1
            else:
                with before.open(digest) as file:
                    after.store(digest, file)
        except NotFound as problem:
            raise TidegateError(
                f"the payload {digest} is not at {before.where(digest)}", "Upload it again; then repeat"
            ) from problem
        except Problem as problem:
            raise TidegateError(f"{problem.detail}: payload {digest}", f"{problem.remedy}; then repeat") from problem
        done += size
    return Copied(len(sizes) - there, there)
