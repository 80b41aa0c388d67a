"""The plan of a rollout in waves, before anything starts: who is in which wave, and what each downloads."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ota_server.store import rollout_states, steps
from ota_server.store.models import Device, Release, Target
from tidegate import manifest
from tidegate.rollout import Terms

_MOST_NAMED = 10  # devices named in one row


def preview(session: Session, release: Release, terms: Terms, now: int, *, name_devices: bool) -> dict[str, Any]:
    """Waves with rows of devices that are alike: board, version, and what they fetch.

    `gets` is patch, image or unknown, and `bytes` the size; `through` are versions that come before it, whose downloads
    are counted, too. `excused` counts the selected devices that get nothing, by
    reason; `beyond` those that no wave has.
    """
    facts = rollout_states.facts(release)
    waiting = rollout_states.waiting(session, terms, facts, now)
    due = rollout_states.by_wave(terms, waiting, 0)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    targets = {target.board: target for target in release.targets if not target.withdrawn}
    ways: dict[tuple[Any, ...], tuple[tuple[str, ...], str, int | None]] = {}  # what devices that are alike download
    columns = (Device.id, Device.board, Device.version, Device.digest, Device.sequence, Device.micropython)
    what = select(*columns).where(
        rollout_states.selected(terms, facts, now), rollout_states.why_excused(facts).is_(None)
    )
    known = {row[0]: row for row in session.execute(what)}
    for one in waiting:
        if one.id not in due or one.id not in known:
            continue
        _, board, version, digest, runs, python = known[one.id]
        alike = (board, digest, runs, python)
        if alike not in ways:
            ways[alike] = _downloads(steps.way(session, targets[board], runs, python).targets, digest)
        through, gets, size = ways[alike]
        key = (due[one.id], board, version, gets, size, through)
        row = rows.setdefault(
            key, dict(zip(("wave", "board", "version", "gets", "bytes", "through"), key, strict=True))
        )
        row["devices"] = row.get("devices", 0) + 1
        if name_devices:
            row.setdefault("ids", [])
            if len(row["ids"]) < _MOST_NAMED:
                row["ids"].append(one.id)
    sizes = Counter(due.values())
    reason = rollout_states.why_excused(facts)
    excused = select(reason, func.count()).where(rollout_states.selected(terms, facts, now), reason.is_not(None))
    return {
        "product": release.product,
        "version": release.version,
        "sequence": release.sequence,
        "terms": terms.document(),
        "waves": [
            {"wave": number, "size": str(wave), "devices": sizes[number]} for number, wave in enumerate(terms.waves, 1)
        ],
        "rows": sorted(rows.values(), key=lambda row: (row["wave"], row["board"], row["version"] or "", row["gets"])),
        "excused": dict(session.execute(excused.group_by(reason)).all()),
        "beyond": len(waiting) - len(due),
    }


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
