"""Accepting a release: what a device would refuse is refused here, before any device hears of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ota_server.config import Config
from ota_server.errors import Problem
from ota_server.releases import trust as releases_trust
from ota_server.releases.envelopes import check_offered, check_payload, check_same, read_envelopes
from ota_server.releases.payloads import Payloads
from ota_server.security import audit
from ota_server.store import Store, groups
from ota_server.store import releases as stored
from ota_server.store.models import ChannelRelease, Release, Target
from tidegate import delta, manifest
from tidegate.errors import Refused
from tidegate.image import Identity
from tidegate.names import CHANNEL
from tidegate.release.folder import check_identity
from tidegate.release.verify import check_image, check_patch
from tidegate.trust import store as trust_store


@dataclass(frozen=True)
class Candidate:
    """A release as sent, its shape checked and nothing else."""

    product: str
    vendor: str
    version: str
    sequence: int
    envelopes: Mapping[str, bytes]  # by board
    channel: str | None = None  # where it is to stand; None: "stable", or where it stands already
    only_in: frozenset[str] | None = None  # the channels that who sends it may reach; None: all


@dataclass(frozen=True)
class Outcome:
    """`created` is false when the very same release was already there; `warnings` name what could not be checked."""

    release: Release
    created: bool
    warnings: list[str]
    offered: int


def read(body: Any, only_in: frozenset[str] | None = None) -> Candidate:
    """Check the shape of the JSON document of POST /api/v1/releases, and that its channel is one of `only_in`."""
    if not isinstance(body, dict):
        raise _invalid("the release is not a JSON object")
    names = {"product", "vendor", "version", "sequence", "targets"}
    if set(body) - {"channel"} != names:
        raise _invalid(f"the release must have exactly the members {', '.join(sorted(names))}, and may have channel")
    check_identity(body["product"], body["vendor"], body["version"], body["sequence"])
    channel = None if body.get("channel") is None else check_channel(body["channel"])
    said = (body["product"], body["vendor"], body["version"], body["sequence"])
    if only_in is not None and (channel or groups.STABLE) not in only_in:
        raise Problem(
            403,
            "forbidden",
            f"this token may publish into {', '.join(sorted(only_in))}, not into {channel or groups.STABLE}",
            f"Publish with --channel {min(only_in)}, and bring it to others with: tidegate rollout start",
        )
    return Candidate(*said, read_envelopes(body), channel, only_in)


def check_channel(name: Any) -> str:
    """The name if it can be that of a channel or a group."""
    if not CHANNEL.fits(name):
        raise Problem(400, "invalid-name", f"{name!r:.80} is not a valid channel or group name", CHANNEL.remedy)
    return name


def accept(store: Store, payloads: Payloads, config: Config, wanted: Candidate, actor: str) -> Outcome:
    """Check everything, store the release in its channel and offer it to the devices it is for, in one transaction.

    Raises Problem or Refused and then has changed nothing.
    """
    with store.read() as session:
        known = precheck(session, wanted)
        if known is not None and not new_boards(known, wanted):
            return Outcome(known, False, [], 0)
        keys = releases_trust.current(session, config)
    targets: list[Target] = []
    warnings: list[str] = []
    for board, envelope in sorted(wanted.envelopes.items()):
        facts = verify(wanted, board, envelope, keys)
        targets.append(_target(wanted, board, envelope, facts, payloads, warnings))
    with store.write() as session:
        groups.lock(session)
        # Again, now with the lock: another publisher may have been faster.
        if releases_trust.current(session, config) != keys:
            raise Problem(409, "trust-changed", "the trust store was changed meanwhile", "Publish the release again")
        release = precheck(session, wanted)
        new = new_boards(release, wanted) if release is not None else set(wanted.envelopes)
        first = release is None
        if release is None:
            release = Release(
                product=wanted.product,
                vendor=wanted.vendor,
                version=wanted.version,
                sequence=wanted.sequence,
                channel=wanted.channel or groups.STABLE,
            )
            session.add(release)
        added = [target for target in targets if target.board in new]
        release.targets.extend(added)
        session.flush()
        if first:
            session.add(ChannelRelease(channel=release.channel, release_id=release.id))
            session.flush()
        offered = groups.offer(session, product=wanted.product) if added else 0
        audit.record(
            session,
            actor,
            "release.publish",
            f"{wanted.product} {wanted.version}",
            sequence=wanted.sequence,
            channel=release.channel,
            boards={target.board: target.manifest_digest for target in added},
            offered=offered,
        )
        return Outcome(release, bool(added), warnings, offered)


def precheck(session: Session, wanted: Candidate) -> Release | None:
    """The release already stored under this sequence number, if `wanted` may be it; Problem 409 when it is too old,
    was withdrawn, or stands in another channel."""
    newest = stored.newest(session, wanted.product)
    if newest is None or wanted.sequence > newest.sequence:
        return None
    known = stored.find(session, wanted.product, wanted.sequence)
    if known is not None and known.version == wanted.version and known.vendor == wanted.vendor:
        same = {target.board: target.envelope for target in known.targets}
        new = set(wanted.envelopes) - set(same)
        if all(same.get(board, envelope) == envelope for board, envelope in wanted.envelopes.items()) and (
            not new or wanted.sequence == newest.sequence
        ):
            withdrawn = any(target.withdrawn for target in known.targets)
            check_offered(f"{known.product} {known.version}", withdrawn)
            _check_channel(session, known, wanted)
            if new:
                _check_reach(session, known, wanted)
            return known
    raise Problem(
        409,
        "sequence",
        f"{wanted.product} is at sequence number {newest.sequence} ({newest.version}); "
        f"{wanted.sequence} ({wanted.version}) is not newer, and devices would refuse it",
        f"Build and sign it with a sequence number from {newest.sequence + 1}",
    )


def _check_channel(session: Session, known: Release, wanted: Candidate) -> None:
    """Publishing again puts nothing into another channel: that is a rollout, which another token may start."""
    if wanted.channel not in (None, known.channel, *groups.channels(session, known.id)):
        raise Problem(
            409,
            "other-channel",
            f"{known.product} {known.version} was published into the channel {known.channel}",
            f"To bring it to others: tidegate rollout start {known.version} --channel {wanted.channel}",
        )


def _check_reach(session: Session, known: Release, wanted: Candidate) -> None:
    """Boards added to a release reach every channel and group it was brought to, which not every token may."""
    if wanted.only_in is None:
        return
    pinned = [group.name for group in groups.listed(session) if group.release_id == known.id]
    beyond = sorted(set(groups.channels(session, known.id)) - wanted.only_in) + pinned
    if beyond:
        raise Problem(
            403,
            "forbidden",
            f"{known.version} is rolled out to {', '.join(beyond)}, which this token may not reach with more boards",
            "Publish them as a release of a newer sequence number",
        )


def new_boards(known: Release, wanted: Candidate) -> set[str]:
    """The boards of `wanted` that the stored release has no image for yet."""
    return set(wanted.envelopes) - {target.board for target in known.targets}


def verify(wanted: Candidate, board: str, envelope: bytes, keys: trust_store.TrustStore) -> manifest.Manifest:
    """Signature and identity of one target, as the device checks them."""
    try:
        facts = manifest.verify(envelope, keys)
    except Refused as refusal:
        raise Refused(refusal.reason, f"{board}: {refusal.message}", refusal.remedy) from None
    check_same(board, facts, wanted)
    return facts


def _target(
    wanted: Candidate,
    board: str,
    envelope: bytes,
    facts: manifest.Manifest,
    payloads: Payloads,
    warnings: list[str],
) -> Target:
    """Check that the payloads are there and right, and that every patch whose base we have gives the image."""
    image = check_payload(payloads, board, "image", facts.image.digest, facts.image.size)
    check_image(image, Identity(wanted.product, wanted.version, wanted.sequence, board), again=True)
    patches = []
    for patch in facts.patches:
        data = check_payload(payloads, board, "patch", patch.digest, patch.size)
        checked = payloads.has(patch.base_digest.hex())
        if checked:
            _check_patch(board, payloads.read(patch.base_digest.hex()), data, image, patch)
        else:
            warnings.append(
                f"{board}: the patch from base {patch.base_digest.hex()} could not be tried, since that image was "
                "never published here"
            )
        patches.append(
            {
                "base": patch.base_digest.hex(),
                "digest": patch.digest.hex(),
                "size": patch.size,
                "checked": checked,
            }
        )
    return Target(
        board=board,
        envelope=envelope,
        manifest_digest=manifest.open_envelope(envelope).digest.hex(),
        image_digest=facts.image.digest.hex(),
        image_size=facts.image.size,
        patches=patches,
    )


def _check_patch(board: str, base: bytes, data: bytes, image: bytes, patch: manifest.Patch) -> None:
    try:
        header = delta.read_header(data)
        # Sizes first: a patch may not make us allocate more than the image it is for.
        if (header.old_size, header.new_size, patch.base_size) != (len(base), len(image), len(base)):
            raise Refused("patch", "it is between files of other sizes")
        check_patch(data, base, image)
    except Refused as refusal:
        raise Refused(
            refusal.reason,
            f"{board}: the patch {patch.digest.hex()} does not turn its base into the image: {refusal.message}",
            "Build the release again against the published predecessor",
        ) from None


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid-release", detail, "Publish with: tidegate release publish DIR")
