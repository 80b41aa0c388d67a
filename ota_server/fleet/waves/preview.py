"""The plan of a rollout in waves, before anything starts: who is in which wave, and what each downloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ota_server.fleet.waves import subjects
from ota_server.store import rollout_states, steps
from ota_server.store.models import DataTarget, Device, Release, Target, TrustUpdate
from ota_server.store.rollout_subjects import Facts
from tidegate import manifest
from tidegate.rollout import Terms
from tidegate.rollout.subject import TRUST

_MOST_NAMED = 10  # devices named in one row
_CHUNK = 500  # device ids in one statement


def preview(
    session: Session, facts: Facts, release: Release | None, terms: Terms, now: int, *, name_devices: bool
) -> dict[str, Any]:
    """Waves with rows of devices that are alike: board, version, and what they fetch.

    `gets` is patch, image, data, trust or unknown, and `bytes` the size; `through` are versions that come before it,
    whose downloads are counted, too. `excused` counts the selected devices that get nothing, by reason; `beyond` those
    that no wave has.
    """
    waiting = rollout_states.waiting(session, terms, facts, now)
    due = rollout_states.by_wave(terms, waiting, 0)
    ids = [one.id for one in waiting if one.id in due]
    alike = _of_release(session, release, terms, facts, now) if release is not None else _others(session, facts, ids)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in ids:
        if one not in alike:
            continue
        key = (due[one], *alike[one])
        row = rows.setdefault(
            key, dict(zip(("wave", "board", "version", "gets", "bytes", "through"), key, strict=True))
        )
        row["devices"] = row.get("devices", 0) + 1
        if name_devices:
            row.setdefault("ids", [])
            if len(row["ids"]) < _MOST_NAMED:
                row["ids"].append(one)
    sizes = Counter(due.values())
    reason = rollout_states.why_excused(facts)
    excused = select(reason, func.count()).where(rollout_states.selected(terms, facts, now), reason.is_not(None))
    return {
        "product": facts.product,
        "kind": facts.kind,
        "version": facts.version,
        "sequence": facts.sequence,
        "terms": terms.document(),
        "waves": [
            {"wave": number, "size": str(wave), "devices": sizes[number]} for number, wave in enumerate(terms.waves, 1)
        ],
        "rows": sorted(rows.values(), key=lambda row: (row["wave"], row["board"], row["version"] or "", row["gets"])),
        "excused": dict(session.execute(excused.group_by(reason)).all()),
        "beyond": len(waiting) - len(due),
    }


_Alike = tuple[str, str | None, str, int | None, tuple[str, ...]]  # board, version, gets, bytes, through


def _of_release(session: Session, release: Release, terms: Terms, facts: Facts, now: int) -> dict[str, _Alike]:
    """What each device that waits for the release would download."""
    targets = {target.board: target for target in release.targets if not target.withdrawn}
    ways: dict[tuple[Any, ...], tuple[tuple[str, ...], str, int | None]] = {}  # what devices that are alike download
    columns = (Device.id, Device.board, Device.version, Device.digest, Device.sequence, Device.micropython)
    what = select(*columns).where(
        rollout_states.selected(terms, facts, now), rollout_states.why_excused(facts).is_(None)
    )
    found: dict[str, _Alike] = {}
    for device, board, version, digest, runs, python in session.execute(what):
        key = (board, digest, runs, python)
        if key not in ways:
            ways[key] = _downloads(steps.way(session, targets[board], runs, python).targets, digest)
        through, gets, size = ways[key]
        found[device] = (board, version, gets, size, through)
    return found


def _others(session: Session, facts: Facts, ids: Sequence[str]) -> dict[str, _Alike]:
    """The same of data, and of a trust store, which comes after all that the device has not got yet."""
    download = _of_data(session, facts) if facts.kind == "data" else _of_trust(session, facts)
    found: dict[str, _Alike] = {}
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        has = subjects.versions(session, facts, chunk)
        for device, board in session.execute(select(Device.id, Device.board).where(Device.id.in_(chunk))).all():
            found[device] = download(board, has.get(device))
    return found


def _of_data(session: Session, facts: Facts) -> Callable[[str, str | None], _Alike]:
    of_these = select(DataTarget.board, DataTarget.size).where(DataTarget.id.in_(facts.targets.values()))
    sizes: dict[str, int] = dict(session.execute(of_these).all())
    return lambda board, has: (board, has, "data", sizes[board], ())


def _of_trust(session: Session, facts: Facts) -> Callable[[str, str | None], _Alike]:
    sizes: dict[int, int] = dict(session.execute(select(TrustUpdate.version, func.length(TrustUpdate.document))).all())

    def download(board: str, has: str | None) -> _Alike:
        due = range(int(has or 0) + 1, facts.sequence + 1)
        through = tuple(f"{TRUST}@{version}" for version in due[:-1])
        return board, has, "trust", sum(sizes[version] for version in due), through

    return download


def _downloads(way: tuple[Target, ...], digest: str | None) -> tuple[tuple[str, ...], str, int | None]:
    """The versions before the last of the way, what is downloaded on all of it, and how many bytes that are."""
    found = []
    for target in way:
        found.append(_gets(manifest.decode(manifest.open_envelope(target.envelope).manifest), digest))
        digest = digest and target.image_digest
    kinds = {gets for gets, _ in found}
    gets = next(one for one in ("unknown", "image", "patch") if one in kinds)
    size = None if gets == "unknown" else sum(size or 0 for _, size in found)
    return tuple(target.release.version for target in way[:-1]), gets, size


def _gets(image: manifest.Manifest, digest: str | None) -> tuple[str, int | None]:
    if digest is None:
        return "unknown", None
    patch = next((patch for patch in image.patches if patch.base_digest.hex() == digest), None)
    return ("image", image.image.size) if patch is None else ("patch", patch.size)
