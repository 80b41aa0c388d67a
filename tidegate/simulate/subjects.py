"""What a phase of the kind rollout brings to devices: made and signed here, published, and held back for its waves."""

from __future__ import annotations

import base64
import hashlib
import random
from pathlib import Path

from tidegate import manifest
from tidegate.client.server import Server
from tidegate.errors import TidegateError
from tidegate.manifest import data_profile
from tidegate.simulate import images
from tidegate.simulate.scenario import Fleet, Rollout, Scenario
from tidegate.trust import keys, rotation
from tidegate.trust import store as trust_store
from tidegate.trust.store import TrustStore

_CANDIDATE = "candidate"  # a channel that no group follows
_DATA_BYTES = 2000


class Subjects:
    """running: what the devices run; a rollout of a release changes it once that is done."""

    def __init__(self, server: Server, scenario: Scenario, running: images.Running) -> None:
        self._server = server
        self._scenario = scenario
        self.running = running
        self._stores: dict[Path, TrustStore] = {}  # as they are after updates of this run

    def publish(self, phase: Rollout) -> tuple[str, int, images.Running]:
        """(what `tidegate rollout` calls it, its number, what devices run that have it)."""
        if phase.of == "data":
            return *self._data(phase), self.running
        if phase.of == "trust":
            return *self._trust(phase), self.running
        key, sequence = keys.load(phase.key), self.running.sequence + 1
        scenario = self._scenario
        new = images.publish(self._server, scenario.fleet, scenario.seed, sequence, key, channel=_CANDIDATE)
        return new.version, sequence, new

    def _data(self, phase: Rollout) -> tuple[str, int]:
        fleet, name = self._scenario.fleet, self._scenario.fleet.data
        if name is None:
            raise TidegateError("the fleet has no data component", 'Name one in [fleet], as in data = "maps"')
        mine = (fleet.product, fleet.board, name)
        there = [one for one in self._server.data()["data"] if (one["product"], one["board"], one["name"]) == mine]
        sequence = max((int(one["sequence"]) for one in there), default=0) + 1
        content = random.Random(f"data {self._scenario.seed} {sequence}").randbytes(_DATA_BYTES)
        digest = hashlib.sha256(content)
        vendor = manifest.vendor_id(fleet.vendor)
        facts = data_profile.DataManifest(
            name=name,
            sequence=sequence,
            version=str(sequence),
            vendor_id=vendor,
            class_id=manifest.class_id(vendor, fleet.product, fleet.board),
            digest=digest.digest(),
            size=len(content),
        )
        envelope = manifest.seal(data_profile.encode(facts), [keys.load(phase.key)])
        self._server.put_payload(digest.hexdigest(), content)
        self._server.publish_data(_document(fleet, facts, envelope), hold=True)
        return f"{name}@{sequence}", sequence

    def _trust(self, phase: Rollout) -> tuple[str, int]:
        """The store that follows has one more release key, which is thrown away."""
        if phase.store is None:
            raise TidegateError(
                "the phase names no trust store", 'Name that of the devices, as in store = "trust.cbor"'
            )
        old = self._stores.get(phase.store) or trust_store.load(phase.store)
        new = rotation.succeed(old, add=[keys.new("release")])
        self._server.publish_trust(rotation.sign(rotation.propose(new), [keys.load(phase.key)]), hold=True)
        self._stores[phase.store] = new
        return f"trust@{new.version}", new.version


def _document(fleet: Fleet, facts: data_profile.DataManifest, envelope: bytes) -> dict[str, object]:
    return {
        "name": facts.name,
        "product": fleet.product,
        "vendor": fleet.vendor,
        "version": facts.version,
        "sequence": facts.sequence,
        "targets": {fleet.board: {"envelope": base64.b64encode(envelope).decode("ascii")}},
    }
