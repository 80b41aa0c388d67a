"""End-to-end tests: real server, real broker, the emulated Cortex-M3 with the real firmware.

Ground: QEMU's mps2-an385 running build/qemu_mps2/firmware.elf. A missing part is an error here, not a reason to skip:
`make test` has built everything.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import Installation
from shared_board import CHANGES, DEVICE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a board that runs 1.0.0 and is online; 1.1.0 is built and signed, not published."""
    with Installation(tmp_path_factory.mktemp("e2e") / "place") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        made.flash(made.add_board(DEVICE), DEVICE, "1.0.0")
        made.wait_running(DEVICE, "1.0.0", 60)
        made.change(CHANGES / "1.1.0.diff")
        made.build("1.1.0", 2, previous="1.0.0")
        yield made
