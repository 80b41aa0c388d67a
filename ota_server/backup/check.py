"""Whether a server's data is whole: the database in itself, the audit chain, each payload's file, the secrets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ota_server.backup import archive, database
from ota_server.backup.archive import Tell, quiet
from ota_server.config import Config
from ota_server.errors import NotFound, Problem
from ota_server.releases.payload_stores import open_store
from ota_server.security import audit, device_credentials
from ota_server.store import Store
from ota_server.store import engine as store_engine
from tidegate import audit_chain
from tidegate.errors import TidegateError
from tidegate.trust import store as trust_store

_MOST = 20  # problems of one kind that are named; the rest is counted


@dataclass
class Findings:
    """What a check looked at, and what it found. notes: what is unusual and harmless."""

    looked_at: dict[str, int | str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def several(self, what: str, names: list[str]) -> None:
        """A problem for each name, of many the first."""
        self.problems += [f"{what} {name}" for name in names[:_MOST]]
        if len(names) > _MOST:
            self.problems.append(f"{what} {len(names) - _MOST} more")


def check(config: Config, heads: list[audit_chain.Head], tell: Tell = quiet) -> Findings:
    """Look at a server's folder and database, running or not. heads: of the audit log, seen earlier by this user."""
    findings = Findings()
    if database.kind(config.database) == "sqlite" and not database.file_of(config.database).is_file():
        raise TidegateError(f"{config.data} has no database", "Name the server's folder with --data")
    payloads = _read(config.database, heads, findings)
    if payloads is None:
        return findings
    _payloads(config, payloads, findings, tell)
    _secrets(config, findings)
    return findings


def check_backup(path: Path, tell: Tell = quiet) -> Findings:
    """Read a backup to its end and check what can be checked without restoring it."""
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="tidegate-check-") as scratch:
        saved = Path(scratch) / "database"
        found = archive.read(path, lambda name: saved if name.startswith("database.") else None, tell)
        facts = found.facts
        findings.looked_at |= {"created": facts.created, "tidegate": facts.tidegate, "database": facts.database}
        if facts.database == "postgresql":
            findings.notes.append("the rows in a dump of PostgreSQL are checked when it is restored")
            findings.looked_at |= {"payloads": len(found.payloads()), "audit entries": facts.rows.get("audit", 0)}
            return findings
        heads = [] if facts.audit is None else [audit_chain.Head(*facts.audit, seen=facts.created)]
        payloads = _read(URL.create("sqlite", database=str(saved)), heads, findings)
        if payloads is None:
            return findings
    findings.several("there is no file of payload", sorted(set(payloads) - found.payloads()))
    return findings


def _read(url: str | URL, heads: list[audit_chain.Head], findings: Findings) -> dict[str, int] | None:
    """All that a database shows by itself; returns the payloads that it knows, or None if it cannot be read."""
    store = Store(url)
    try:
        with store.read() as session:
            payloads = _database(session, heads, findings)
            _released(session, payloads, findings)
            return payloads
    except SQLAlchemyError as error:
        findings.problems.append(f"the database cannot be read: {getattr(error, 'orig', error)}")
        return None
    finally:
        store.close()


def _database(session: Session, heads: list[audit_chain.Head], findings: Findings) -> dict[str, int]:
    """The database in itself and the audit log; returns the payloads that it knows, with their sizes."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        for pragma in ("integrity_check", "foreign_key_check"):
            rows = [tuple(row) for row in connection.exec_driver_sql(f"PRAGMA {pragma}") if row[0] != "ok"]
            if rows:
                findings.several(f"the database, {pragma}:", [" ".join(map(str, row)) for row in rows])
                if pragma == "integrity_check":
                    return {}
    held = database.moment(connection)
    findings.looked_at |= {"revision": held.revision, "payloads": len(held.payloads), "rows": sum(held.rows.values())}
    if held.revision not in revisions():
        findings.problems.append(f"the database has revision {held.revision}, which this version does not know")
    findings.looked_at["audit entries"] = held.rows["audit"]
    try:
        audit_chain.verify(audit.entries(session), heads)
    except TidegateError as error:
        findings.problems.append(error.message)
    return held.payloads


def _released(session: Session, payloads: dict[str, int], findings: Findings) -> None:
    """What was released is among the payloads."""
    needed: Iterator[str] = iter(
        session.scalars(sa.text("SELECT image_digest FROM target UNION SELECT digest FROM data_target"))
    )
    findings.several("a release names an image that is not among the payloads:", sorted(set(needed) - set(payloads)))


def _payloads(config: Config, payloads: dict[str, int], findings: Findings, tell: Tell) -> None:
    store = open_store(config)
    total, done = sum(payloads.values()), 0
    missing, wrong = [], []
    for digest, size in sorted(payloads.items()):
        tell(done, total, digest)
        try:
            if not store.is_sound(digest):
                wrong.append(store.where(digest))
        except NotFound:
            missing.append(f"{digest}: {store.where(digest)}")
        except Problem as problem:
            findings.problems.append(f"payloads cannot be read, {digest} was the first: {problem.detail}")
            break
        done += size
    findings.several("there is no file of payload", missing)
    findings.several("other bytes than its name says has", wrong)
    try:
        extra = set(store.names()) - set(payloads)
    except Problem as problem:
        findings.problems.append(f"payloads cannot be listed: {problem.detail}")
        return
    if extra:
        findings.notes.append(f"{len(extra)} payload files without a row: uploads that were cut off, or still run")


def _secrets(config: Config, findings: Findings) -> None:
    for path in (config.coap_secret, config.broker_password, config.admin_token):
        if not path.exists():
            if path != config.admin_token:  # it is one token among others; many remove it
                findings.problems.append(f"{path} is missing; the next start makes another, which devices do not know")
        elif path.stat().st_mode & 0o077:
            findings.problems.append(f"{path} can be read by other users: chmod 600")
    try:
        if config.coap_secret.exists():
            device_credentials.Keys(config.coap_secret)
        if config.trust_file.exists():
            trust_store.load(config.trust_file)
        else:
            findings.notes.append("there is no trust.cbor: this server takes no releases")
    except TidegateError as error:
        findings.problems.append(error.message)


def revisions() -> set[str]:
    """The revisions of the database that this version can bring up to date."""
    scripts = ScriptDirectory(str(Path(store_engine.__file__).parent / "migrations"))
    return {script.revision for script in scripts.walk_revisions()}
