"""docs/coap.md says what is: its table, its program, its figures of memory."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import coap_cases
import coap_ram
import mip_packages
import pytest
from coap_processes import ROOT, UNIX
from patience import limit
from ports import free_port

# Of the heap that an import takes, a part is the next piece of the table of names: up to a KiB, sooner or later.
PIECE = 1200


def test_the_table_of_cases_is_what_is_tested() -> None:
    made = coap_cases.table(coap_cases.tested())
    assert coap_cases.written() == made, "run: python tests/interop/support/coap_cases.py --write"


@pytest.mark.skipif(not UNIX.exists(), reason="build/unix/micropython is not built")
def test_the_program_runs_where_only_the_package_is_installed(tmp_path: Path) -> None:
    mip_packages.install("coap", tmp_path)
    program = coap_cases.DOCUMENT.read_text().split("```python\n")[1].split("```")[0]
    lines = [line for line in program.splitlines() if line.strip()]
    assert len(lines) <= 20
    port = free_port()
    program = program.replace("5683", str(port)).replace('Client("127.0.0.1")', f'Client("127.0.0.1", {port})')
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [UNIX, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "MICROPYPATH": f"{tmp_path}:.frozen"},
        capture_output=True,
        text=True,
        timeout=limit(30),
    )
    assert done.stdout.splitlines() == [f"Answer(205, b'{level}')" for level in range(20, 24)], (
        done.stdout + done.stderr
    )


@pytest.mark.skipif(not (ROOT / "build/qemu_mps2/firmware.elf").exists(), reason="no firmware is built")
def test_the_figures_of_memory() -> None:
    found = coap_ram.measure()
    text = coap_cases.DOCUMENT.read_text().split("## Memory")[1].split("Parts are imported")[0]
    told = [int(number.replace(",", "")) for number in re.findall(r"^\| .* \| ([\d,]+) \|$", text, re.MULTILINE)]
    names = ("client", "observe", "client-512", "server", "server-1024")
    assert len(told) == len(names)
    for name, figure in zip(names, told, strict=True):
        assert abs(found[name] - figure) < PIECE, f"{name}: {found[name]} bytes, and {figure} in docs/coap.md"
    assert found["client"] <= 6 * 1024 + PIECE
    assert found["server"] <= 5 * 1024
