"""The trust store that this server uses, and the updates that it gives to devices.

The store given at the start (--trust) is where it begins; every published update moves it on, in the database, so
that all processes of a server follow at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session, selectinload

from ota_server.config import Config
from ota_server.errors import Conflict, Unavailable
from ota_server.security import audit
from ota_server.store import Store, groups, trust_updates
from ota_server.store.models import DataTarget, Device, DeviceData, Target, TrustUpdate
from tidegate import manifest
from tidegate.errors import Refused, TidegateError
from tidegate.trust import rotation
from tidegate.trust import store as trust_store


@dataclass(frozen=True)
class TrustPublication:
    """`created` is false when this version was already here; `withdrawn` are offers that devices would refuse now.

    held: only devices that a rollout in waves granted it get it.
    """

    store: trust_store.TrustStore
    created: bool
    withdrawn: list[Target | DataTarget]
    held: bool = False


def current(session: Session, config: Config, *, held: bool = False) -> trust_store.TrustStore:
    """The trust store that all devices are to have, by which releases and commands are judged; Problem 503 without any.

    held: the newest that was published, also if rollouts hold it back.
    """
    row = trust_updates.newest(session, held=held)
    published = trust_store.decode(row.store) if row is not None else None
    if config.trust_file.is_file():
        given = trust_store.load(config.trust_file)
        if published is None or given.version > published.version:
            return given
    if published is None:
        raise Unavailable(
            "no-trust-store",
            f"this server has no trust store ({config.trust_file}), so it can check no release",
            "Start it with --trust FILE, the same file the devices carry",
        )
    return published


def check_given(session: Session, given: trust_store.TrustStore) -> None:
    """TidegateError if another store of the same version was published here."""
    row = session.get(TrustUpdate, given.version)
    if row is not None and row.store != trust_store.encode(given):
        raise TidegateError(
            f"another version {given.version} of the trust store was published here",
            "Name the store that this server started with, or use a new data folder for a new fleet",
        )


def publish(store: Store, config: Config, document: bytes, actor: str, *, hold: bool = False) -> TrustPublication:
    """Check a trust update as a device would, store it, and withdraw offers that devices would now refuse.

    hold: only rollouts in waves hand it out, and nothing is withdrawn, until it or a later one is published without.
    Raises Problem or Refused and then has changed nothing.
    """
    with store.write() as session:
        groups.lock(session)
        proposed = rotation.store_of(document)
        known = session.get(TrustUpdate, proposed.version)
        if known is not None and known.store == trust_store.encode(proposed):
            is_held = _is_held_back(session, known)
            if hold and not is_held:
                raise Conflict(
                    "offered-already",
                    f"version {known.version} of the trust store goes to all devices already",
                    "Publish the next one with --hold",
                )
            if hold == is_held:
                return TrustPublication(proposed, False, [], hold)
            new = proposed
            known.held = False
        else:
            new = rotation.verify(document, current(session, config, held=True))
            encoded = trust_store.encode(new)
            session.add(TrustUpdate(version=new.version, document=document, store=encoded, held=hold))
        session.flush()
        withdrawn = [] if hold else _withdraw(session, new)
        audit.record(
            session,
            actor,
            "trust.publish",
            f"version {new.version}",
            keys=[key.kid.hex() for key in new.keys],
            revoked=[kid.hex() for kid in new.revoked],
            withdrawn=[
                target.manifest_digest if isinstance(target, Target) else f"{target.name} {target.digest}"
                for target in withdrawn
            ],
            **({"held": True} if hold else {}),
        )
        return TrustPublication(new, known is None, withdrawn, hold)


def _is_held_back(session: Session, row: TrustUpdate) -> bool:
    """Whether neither it nor a later one goes to all devices."""
    return row.held and row.version > trust_updates.newest_version(session)


def _withdraw(session: Session, keys: trust_store.TrustStore) -> list[Target | DataTarget]:
    """Take back every release and all data that too few of the keys have signed; what was on offer is returned."""
    statement = select(Target).where(Target.withdrawn.is_(False)).options(selectinload(Target.release))
    taken: list[Target | DataTarget] = [
        target
        for target in session.scalars(statement).all()
        if _is_orphaned(target, keys) and _free(session, Device, target)
    ]
    content = select(DataTarget).where(DataTarget.withdrawn.is_(False))
    taken += [
        target
        for target in session.scalars(content).all()
        if _is_orphaned(target, keys) and _free(session, DeviceData, target)
    ]
    return taken


def _is_orphaned(target: Target | DataTarget, keys: trust_store.TrustStore) -> bool:
    """Whether too few of the keys have signed it; then it is marked as withdrawn."""
    try:
        manifest.check_signatures(manifest.open_envelope(target.envelope), keys)
    except Refused:
        target.withdrawn = True
    return target.withdrawn


def _free(session: Session, holders: type[Device] | type[DeviceData], target: Target | DataTarget) -> bool:
    """Withdraw the offer of `target` from all; returns whether anyone had it."""
    # As sent: the broker may have it, also if a birth has requested it again since. The worker withdraws it.
    gone = update(holders).where(holders.offer_id == target.id).values(offer_id=None, offer_sent_id=target.id)
    freed = session.execute(gone)
    return bool(freed.rowcount)  # type: ignore[attr-defined]
