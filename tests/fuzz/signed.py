"""Content changed before it is signed: what a key signs is still only data.

Manifests of images and of data, commands and trust updates with one to three places changed, signed with the right key;
the device's code judges them on MicroPython, and what this project's host takes the device must take, and understand
in the same way. (A device may take more: it interprets a manifest, the host knows one shape of it.)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cbor2 import CBORTag
from patience import limit

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tidegate import manifest  # noqa: E402
from tidegate.commands import cwt  # noqa: E402
from tidegate.errors import Refused  # noqa: E402
from tidegate.manifest import data_profile, profile  # noqa: E402
from tidegate.manifest.envelope import manifest_digest  # noqa: E402
from tidegate.release import data_release  # noqa: E402
from tidegate.trust import keys, rotation, store  # noqa: E402
from tidegate.wire import cbor, cose  # noqa: E402

# Last on the path: one of the device's libraries has the name of this project's host half.
sys.path += [str(ROOT / "tests" / "device" / "support"), str(ROOT / "firmware" / "lib")]
import mutations  # noqa: E402

BATCH = 5000
TIMEOUT_S = 300

RELEASE, COMMAND, ROOT_KEY = (
    keys.from_seed(role, bytes(range(start, start + 32))) for start, role in enumerate(("release", "command", "root"))
)
STORE = store.make([RELEASE, COMMAND])
ROOTED = store.make([RELEASE, ROOT_KEY])
IMAGE = manifest.Manifest(
    7,
    "1.0.0",
    bytes(16),
    bytes(range(16)),
    manifest.Image(bytes(32), 1000),
    tuple(manifest.Patch(bytes((base, *range(1, 32))), 900, bytes(range(base, base + 32)), 100) for base in range(3)),
)
CONTENT = data_profile.DataManifest("calibration", 3, "1.1", bytes(16), bytes(range(16)), bytes(32), 100)
REQUEST = cwt.Command("gate-7", "valve.set", {"percent": 40}, bytes(8), 1000, 2000, bytes(8))
CLAIMS = cbor.loads(cwt.make(COMMAND, REQUEST), tags=frozenset({18})).value[2]
SUCCESSOR = store.encode(rotation.succeed(ROOTED, [keys.from_seed("command", bytes(32))]))


def seal(body: bytes) -> bytes:
    """The envelope around a manifest that manifest.seal would not sign."""
    digest = profile.wrap_digest(manifest_digest(body))
    signature = cose.sign1(RELEASE.seed_for("release"), digest, detached=True)
    return cbor.dumps(CBORTag(manifest.TAG_ENVELOPE, {2: cbor.dumps([digest, signature]), 3: body}))


def sign_command(body: bytes) -> bytes:
    return cose.sign1(COMMAND.seed_for("command"), body, headers={cose.HEADER_TYP: cwt.TYP_CWT})


def sign_update(body: bytes) -> bytes:
    return cose.sign([ROOT_KEY.seed_for("root")], body, {cose.HEADER_TYP: rotation.TYP})


def read_manifest(signed: bytes) -> str:
    """As the device tells it, of the branch that fits the image it runs (bytes(range(32)), the first base)."""
    found = manifest.verify(signed, STORE)
    running = [patch for patch in found.patches if patch.base_digest == bytes(range(32))]
    payload = running[0].digest if running else found.image.digest
    return f"taken {found.sequence} {found.image.digest.hex()} {found.image.size} {payload.hex()}"


def read_data(signed: bytes) -> str:
    found = data_release.verify_envelope(signed, STORE)
    return f"taken {found.sequence} {found.digest.hex()} {found.size}"


def read_command(signed: bytes) -> str:
    return f"taken {cwt.verify(signed, STORE, 'gate-7', nonce=bytes(8)).cti.hex()}"


def read_update(signed: bytes) -> str:
    return f"taken {rotation.verify(signed, ROOTED).version}"


@dataclass(frozen=True)
class Kind:
    body: bytes
    sign: Callable[[bytes], bytes]
    read: Callable[[bytes], str]
    # what the device may say of what the host takes, beside the same: it knows what it is
    own: tuple[str, ...] = ()


KINDS = {
    "manifest": Kind(manifest.encode(IMAGE), seal, read_manifest, ("refused wrong-board",)),
    "data": Kind(data_profile.encode(CONTENT), seal, read_data, ("refused wrong-board", "refused unsupported")),
    "command": Kind(CLAIMS, sign_command, read_command, ("refused opcode", "refused arguments")),
    "update": Kind(SUCCESSOR, sign_update, read_update),
}


def changed(kind: Kind, number: int, seed: int) -> bytes:
    """The body of a case: mostly changed in places of its structure, now and then blindly."""
    chance = mutations.random_at(seed, number)
    body = kind.body
    for _ in range(1 + chance.below(3)):
        blindly = chance.below(8) == 0
        body = (None if blindly else mutations.knowing(chance, body)) or mutations.blind(chance, body, kind.body)
    return body


def verdict_of(kind: Kind, signed: bytes) -> str | None:
    try:
        return kind.read(signed)
    except Refused as refusal:
        if not refusal.reason or not refusal.message:
            raise AssertionError("a refusal without words") from refusal
        return None


def run(name: str, count: int, seed: int, device: list[str], native: str | None) -> Counter[str]:
    """Judges `count` cases on both sides; the number of each verdict. AssertionError names the first that is wrong."""
    kind, seen = KINDS[name], Counter[str]()
    for first in range(0, count, BATCH):
        cases = [kind.sign(changed(kind, n, seed)) for n in range(first, min(count, first + BATCH))]
        for number, (signed, said) in enumerate(zip(cases, ask(name, cases, device, native), strict=True), first):
            host = verdict_of(kind, signed)
            if host is not None and said != host and said not in kind.own:
                raise AssertionError(f"signed {name}, seed {seed}, case {number}: the host says {host}, the device "
                                     f"{said}: {signed.hex()}")  # fmt: skip
            seen[said.split()[0] if said.startswith("taken") else said] += 1
    return seen


def ask(name: str, cases: list[bytes], device: list[str], native: str | None) -> list[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(f"setup {store.encode(STORE).hex()} {store.encode(ROOTED).hex()}\n")
        file.writelines(f"{name} {case.hex()}\n" for case in cases)
        file.flush()
        command = [*device, str(ROOT / "tests/device/support/fuzz_signed.py"), str(ROOT), "unix", file.name]
        done = subprocess.run(
            [*command, *([native] if native else [])], capture_output=True, text=True, timeout=limit(TIMEOUT_S)
        )
    said = [line.removeprefix("VERDICT ") for line in done.stdout.splitlines() if line.startswith("VERDICT ")]
    if done.returncode or len(said) != len(cases):
        case = cases[len(said)].hex() if len(said) < len(cases) else "none"
        raise AssertionError(f"the device's half ended at {name} {case}:\n{(done.stdout + done.stderr)[-1500:]}")
    return said
