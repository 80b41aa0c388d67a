"""Files births: what a device is, runs and holds, and what follows from that."""

from __future__ import annotations

from typing import Any

from ota_server.store import alarms, clone_detection, data, device_events, rollout_reports, settings, trust_updates
from ota_server.store.models import Device, Target
from ota_server.uplink.batch import Batch
from ota_server.uplink.text import clean


def file(batch: Batch, device: Device, body: dict[str, Any], retained: bool) -> None:
    """Note a birth. One that the broker had stored and that says what is known already changes nothing."""
    if retained and _is_known(batch, device, body):
        return
    if (body["board"], body["product"]) != (device.board, device.product):
        alarms.raise_server_alarm(
            batch.session,
            device.id,
            "identity",
            "other-board",
            f"registered as {device.product} on {device.board}, says it is {clean(body['product'])} on "
            f"{clean(body['board'])}",
        )
    if not retained:
        clone_detection.on_birth(batch.session, device, body["nonce"], body.get("hardware"))
        batch.born.append(device.id)
        device.online = True
    # A device that has a key says its birth once more as soon as it has signed it.
    signed_since = device.nonce == body["nonce"] and device.birth_proof is None and "proof" in body
    if device.nonce != body["nonce"]:
        device.birth_at, device.birth_proof = batch.now, None
        device_events.booted(batch.session, device.id, batch.now, {**_facts(body), "trial": body["trial"]})
    device.birth_proof = body.get("proof", device.birth_proof)
    for name, value in _facts(body).items():
        setattr(device, name, value)
    device.trial, device.takes_data = body["trial"], "data" in body
    grants = batch.granted(device)
    newest_trust = max(batch.newest_trust(), rollout_reports.trust(grants))
    if trust_updates.on_birth(batch.session, device, body["trust_version"], newest_trust):
        alarms.raise_server_alarm(
            batch.session,
            device.id,
            "trust-behind",
            "no-update",
            f"has trust store version {body['trust_version']}, and version {body['trust_version'] + 1} was never "
            "published here: publish the missing updates in order, or flash the newest store",
        )
    rollout_reports.on_birth(grants, device, body.get("data", {}), batch.now)
    _components(batch, device, body.get("data", {}))
    settings.on_birth(batch.session, device, body.get("settings"))
    target = batch.offered(device)
    _derive_offer(device, target)
    offered = target.release.sequence if target is not None and device.offer_id == target.id else 0
    if offered > max(body["sequence"], device.failed_sequence or 0) and not signed_since:
        device.offer_sent_id = None  # the broker may have lost the retained offer: it goes out once more


def _facts(body: dict[str, Any]) -> dict[str, Any]:
    """What a birth says of the device, as its row stores it."""
    return {
        "version": clean(body["version"])[:64],
        "sequence": body["sequence"],
        "digest": body["digest"],
        "nonce": body["nonce"],
        "reset_cause": clean(body["reset_cause"])[:16],
        "micropython": clean(body["micropython"])[:64],
    }


def _is_known(batch: Batch, device: Device, body: dict[str, Any]) -> bool:
    """Whether the birth says nothing that the row does not.

    A trial that has ended since is known from a report, which is newer than the birth.
    """
    if any(getattr(device, name) != value for name, value in _facts(body).items()):
        return False
    if device.trust_version != body["trust_version"] or body.get("proof", device.birth_proof) != device.birth_proof:
        return False
    if device.takes_data != ("data" in body):
        return False
    if (device.trial and not body["trial"]) or device.settings_digest not in (None, body.get("settings", "")):
        return False
    held = {name: (row.sequence, row.digest) for name, row in batch.held(device.id).items() if row.sequence is not None}
    return held == {name: (said["sequence"], said["digest"]) for name, said in body.get("data", {}).items()}


def _components(batch: Batch, device: Device, held: dict[str, Any]) -> None:
    """Note the data components a device says it holds; what is published and newer is offered once more."""
    published, granted = batch.published(device), rollout_reports.data(batch.granted(device))
    for name in sorted({*batch.held(device.id), *held, *published, *granted}):
        row = batch.hold(device.id, name)
        said = held.get(name, {})
        row.sequence, row.digest = said.get("sequence"), said.get("digest")
        target = data.choose(published.get(name), granted.get(name, ()), row.sequence)
        if target is None and row.offer_id is not None:
            row.offer_sent_id = row.offer_id  # as sent: the worker takes it from the broker
        row.offer_id = target.id if target is not None else None
        if target is not None and target.sequence > max(row.sequence or 0, row.failed_sequence or 0):
            row.offer_sent_id = None


def _derive_offer(device: Device, target: Target | None) -> None:
    """What `offers.derive` does, for one device whose row is at hand."""
    ahead = target is None or (device.sequence or 0) > target.release.sequence or device.revoked_at is not None
    if ahead and device.offer_id is not None:
        # As sent: the broker may have it, also if a birth has requested it again since. The worker withdraws it.
        device.offer_id, device.offer_sent_id = None, device.offer_id
    elif not ahead and target is not None:
        device.offer_id = target.id
