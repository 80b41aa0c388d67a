"""Releases, which bring images: what is special about accepting them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ota_server.errors import Conflict, Forbidden
from ota_server.releases import slo
from ota_server.releases.accept import Candidate
from ota_server.releases.manifest_checks import check_offered, check_payload, check_same
from ota_server.releases.payloads import Payloads
from ota_server.store import groups, now_ms, offers
from ota_server.store import releases as table
from ota_server.store.models import ChannelRelease, Release, Target
from tidegate import delta, manifest
from tidegate.errors import Refused
from tidegate.image import Identity
from tidegate.release.verify import check_image, check_patch
from tidegate.trust.store import TrustStore


@dataclass(frozen=True)
class ImageCandidate(Candidate[Target, Release]):
    """A release to publish.

    channel: where it goes; None means stable, or the channels that have it already. only_in: the channels that the
    caller may publish into; None means all.
    """

    channel: str | None = None
    only_in: frozenset[str] | None = None

    @property
    def noun(self) -> str:
        return "release"

    @property
    def title(self) -> str:
        return f"{self.product} {self.version}"

    def check_reach(self) -> None:
        """Raise Forbidden if the caller may not publish into the channel."""
        channel = self.channel or groups.STABLE
        if self.only_in is not None and channel not in self.only_in:
            raise Forbidden(
                "forbidden",
                f"this token may publish into {', '.join(sorted(self.only_in))}, not into {channel}",
                f"Publish with --channel {min(self.only_in)}, and bring it to others with: tidegate rollout start",
            )

    def find(self, session: Session) -> Release | None:
        newest = table.newest(session, self.product)
        if newest is None or self.sequence > newest.sequence:
            return None
        known = table.find(session, self.product, self.sequence)
        if known is not None and (known.version, known.vendor) == (self.version, self.vendor):
            stored = {target.board: target.envelope for target in known.targets}
            new = set(self.envelopes) - set(stored)
            same = all(stored.get(board, envelope) == envelope for board, envelope in self.envelopes.items())
            if same and (not new or self.sequence == newest.sequence):
                check_offered(self.title, any(target.withdrawn for target in known.targets))
                self._check_channel(session, known)
                if new:
                    self._check_added_boards(session, known)
                return known
        raise Conflict(
            "sequence",
            f"{self.product} is at sequence number {newest.sequence} ({newest.version}); "
            f"{self.sequence} ({self.version}) is not newer, and devices would refuse it",
            f"Build and sign it with a sequence number from {newest.sequence + 1}",
        )

    def boards_of(self, stored: Release) -> set[str]:
        return {target.board for target in stored.targets}

    def verify(self, board: str, envelope: bytes, keys: TrustStore) -> manifest.Manifest:
        """Signature and identity of one target, as the device checks them. Raises Refused."""
        try:
            facts = manifest.verify(envelope, keys)
        except Refused as refusal:
            raise Refused(refusal.reason, f"{board}: {refusal.message}", refusal.remedy) from None
        check_same(board, facts, self)
        return facts

    def check(self, board: str, envelope: bytes, keys: TrustStore, payloads: Payloads, warnings: list[str]) -> Target:
        facts = self.verify(board, envelope, keys)
        image = check_payload(payloads, board, "image", facts.image.digest, facts.image.size)
        check_image(image, Identity(self.product, self.version, self.sequence, board), again=True)
        patches = []
        for patch in facts.patches:
            data = check_payload(payloads, board, "patch", patch.digest, patch.size)
            base = patch.base_digest.hex()
            checked = payloads.has(base)
            if checked:
                _check_patch(board, payloads.read(base), data, image, patch)
            else:
                warnings.append(
                    f"{board}: the patch from base {base} could not be tried, since that image was never published here"
                )
            patches.append({"base": base, "digest": patch.digest.hex(), "size": patch.size, "checked": checked})
        return Target(
            board=board,
            envelope=envelope,
            manifest_digest=manifest.open_envelope(envelope).digest.hex(),
            image_digest=facts.image.digest.hex(),
            image_size=facts.image.size,
            patches=patches,
            needs_sequence=facts.needs.sequence,
            needs_micropython=facts.needs.micropython,
        )

    def store(self, session: Session, stored: Release | None, added: list[Target]) -> tuple[Release, int]:
        release = stored
        if release is None:
            channel = self.channel or groups.STABLE
            if any(group.channel == channel for group in groups.listed(session)):
                slo.check(session, self.product, now_ms())
            release = Release(
                product=self.product,
                vendor=self.vendor,
                version=self.version,
                sequence=self.sequence,
                channel=self.channel or groups.STABLE,
            )
            session.add(release)
        release.targets.extend(added)
        session.flush()
        if stored is None:
            session.add(ChannelRelease(channel=release.channel, release_id=release.id))
            session.flush()
        return release, offers.derive(session, product=self.product)

    def audit_detail(self, stored: Release, added: list[Target]) -> dict[str, Any]:
        return {"channel": stored.channel, "boards": {target.board: target.manifest_digest for target in added}}

    def _check_channel(self, session: Session, known: Release) -> None:
        """Publishing again puts nothing into another channel: that is a rollout, which another token may start."""
        if self.channel not in (None, known.channel, *groups.channels(session, known.id)):
            raise Conflict(
                "other-channel",
                f"{known.product} {known.version} was published into the channel {known.channel}",
                f"To bring it to others: tidegate rollout start {known.version} --channel {self.channel}",
            )

    def _check_added_boards(self, session: Session, known: Release) -> None:
        """Boards added to a release reach every channel and group that has it, which not every token may reach."""
        if self.only_in is None:
            return
        pinned = [group.name for group in groups.listed(session) if group.release_id == known.id]
        beyond = sorted(set(groups.channels(session, known.id)) - self.only_in) + pinned
        if beyond:
            raise Forbidden(
                "forbidden",
                f"{known.version} is rolled out to {', '.join(beyond)}, where this token may not bring more boards",
                "Publish them as a release of a newer sequence number",
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
