"""The table of what meets bytes from outside: each parser of device, host and server, and how it is fed.

A target's `make()` imports what it needs and returns a function of bytes that must return, or raise what a parser may
raise; anything else is a finding. test_parsers.py replays the stored inputs (corpora/) and checks that no parser is
left out; coverage.py looks for new ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPORA = Path(__file__).resolve().parent / "corpora"
Judge = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """name: "side.what"; modules: whose coverage guides, by import name; make: see above; seeds: valid input."""

    name: str
    modules: tuple[str, ...]
    make: Callable[[], Judge]
    seeds: Callable[[], Iterable[bytes]] = field(default=lambda: ())


def device_path() -> None:
    """The device's libraries, last on the path: some have the names of packages on this machine."""
    for folder in ("firmware", "firmware/lib", "tests/device/support"):
        if str(ROOT / folder) not in sys.path:
            sys.path.append(str(ROOT / folder))
    import check

    check.place(str(ROOT), "cpython", {})


def shared() -> str | None:
    """Where folders of files that are written by the thousand belong: in memory, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def vectors(name: str) -> list[dict]:
    return json.loads((ROOT / "tests/vectors" / f"{name}.json").read_text())


def hexes(*names: str, most: int = 60) -> list[bytes]:
    """Hex strings of the vectors that are CBOR or patches, the smaller ones."""
    found = set()
    for name in names:
        for entry in vectors(name):
            for value in entry.values():
                if isinstance(value, str) and len(value) > 8 and len(value) % 2 == 0:
                    try:
                        found.add(bytes.fromhex(value))
                    except ValueError:
                        continue
    return sorted(found, key=len)[:most]


def stored(name: str) -> list[bytes]:
    """The corpus of a target: one input a line, in hex."""
    path = CORPORA / f"{name}.hex"
    return [bytes.fromhex(line) for line in path.read_text().splitlines()] if path.exists() else []


def store(name: str, inputs: Iterable[bytes]) -> None:
    CORPORA.mkdir(exist_ok=True)
    lines = sorted({data.hex() for data in inputs}, key=lambda line: (len(line), line))
    (CORPORA / f"{name}.hex").write_text("".join(line + "\n" for line in lines))


def all_targets() -> dict[str, Target]:
    import parsers_device
    import parsers_host
    import parsers_server

    found = [*parsers_device.TARGETS, *parsers_host.TARGETS, *parsers_server.TARGETS]
    return {target.name: target for target in found}


# Modules that have a function named like a parser's and meet nothing from outside, and why.
_SLOTS = "reads slots and record as bytes; what they hold is judged by boot.record, boot.romfs and SHA-256"
_SIGNED = "reads what an authenticated manifest or store named; the bytes are judged by the targets of both"
_FILES = "reads files whole, with a limit; what is in them is for the parser that asked"
_SERVER = "reads rows and files of the server's own"
NOT_OUTSIDE: dict[str, str] = {
    "boot.changes": _SLOTS,
    "boot.fileslots": _SLOTS,
    "boot.manifests": "reads the stored envelope whole; device.envelope judges what is in it",
    "boot.romslots": _SLOTS,
    "boot.slots": _SLOTS,
    "boot.storage": _SLOTS,
    "coap.udp": "receives datagrams whole; device.coap judges what is in them",
    "ed25519": "chooses between native and pure code by the size of what it is given",
    "ed25519.pure": "takes 32 and 64 bytes; Wycheproof's vectors and tests/native are put to it",
    "gate.commands.ops.updates": "reads the board's own state for an answer",
    "gate.files": _FILES,
    "gate.telemetry.no_ring": "stands where the image has no ring, and reads nothing",
    "gate.trust.storage": "stores and loads what device.trust-store judges",
    "gate.update.accepted": _SIGNED,
    "gate.update.data_component": _SIGNED,
    "gate.update.data_offers": _SIGNED,
    "gate.update.retry": "loads a small file of the agent's own, by gate.files",
    "mqtt.session": "needs a peer: tests/device/libraries/mqtt/test_mqtt_fuzz.py is one that breaks packets",
    "ota_server.backup.archive": "reads the operator's own backup; tests/server/backup changes, cuts and forges it",
    "ota_server.coap.server": "aiocoap decodes; tests/server/coap sends it broken datagrams",
    "ota_server.coap.sessions": "checks MACs of what server.coap splits",
    "ota_server.commands.policy": "judges commands that host.command decodes",
    "ota_server.fleet.enrolment": "judges requests that host.enrolment decodes",
    "ota_server.fleet.figures": _SERVER,
    "ota_server.fleet.waves.carry_out": _SERVER,
    "ota_server.releases.images": _SERVER,
    "ota_server.releases.payload_bucket": "passes payloads on, which are checked against their digests",
    "ota_server.releases.payload_folder": _SERVER,
    "ota_server.releases.payload_stores": "reads the operator's own words at a start",
    "ota_server.releases.payloads": _SERVER,
    "ota_server.roles": "reads the operator's own words at a start",
    "ota_server.address": "reads the operator's own words at a start",
    "ota_server.store.clock": "reads the clock",
    "ota_server.store.command_output": _SERVER,
    "ota_server.store.telemetry_filing": _SERVER,
    "ota_server.web.oidc": "reads the operator's own file at a start; tests/server/web judges what a provider says",
    "ota_server.store.engine": _SERVER,
    "ota_server.tls_context": "OpenSSL reads the operator's own certificates",
    "tidegate.boards.board": "reads board.toml of the checkout, as trusted as the code beside it",
    "tidegate.client.tokens": "a file of this person; what is not a token in it is refused",
    "tidegate.files": _FILES,
    "tidegate.flash.flasher": "reads a board over its cable, which the person at it holds",
    "tidegate.flash.folder_session": "reads a board over its cable, which the person at it holds",
    "tidegate.flash.loader_image": "reads a board over its cable, which the person at it holds",
    "tidegate.flash.serial_session": "reads a board over its cable, which the person at it holds",
    "tidegate.image.imports": "reads the sources of the image that is built, as trusted as what it makes of them",
    "tidegate.project.file": "reads the tidegate.toml of whoever runs the command, as trusted as the code beside it",
    "tidegate.release.provenance": "reads git and this machine's own packages",
    "tidegate.release.verify": "judges payloads that host.patch, host.romfs and host.mpy decode",
    "tidegate.simulate.accounts": "reads its own file of simulated devices",
    "tidegate.simulate.offers": "reads offers by host.manifest and host.trust",
    "tidegate.simulate.usage": "reads /proc, and process ids from the command line",
}
