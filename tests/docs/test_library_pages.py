"""The programs on the device libraries' pages run as they stand, on a bare unix port that mip has filled."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mip_packages
import pytest
from patience import limit

from tidegate import delta

ROOT = Path(__file__).resolve().parent.parent.parent
UNIX = ROOT / "build" / "unix" / "micropython"
PRINTED = {
    "cbor": ["21.5", "reserved or indefinite length", "in 12 bytes"],
    "senml": ["bytes", "gw-1:temperature 21.53 Cel -5", "gw-1:door True"],
}
PACKAGE = {"senml": "senml_cbor"}  # where it is not the page's name

pytestmark = [pytest.mark.built, pytest.mark.skipif(not UNIX.exists(), reason=f"{UNIX} is not built")]


def programs(page: str) -> list[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run(program: str, folder: Path) -> str:
    """What it prints where nothing but `folder` is."""
    done = subprocess.run(
        [UNIX, "-c", program],
        env={**os.environ, "MICROPYPATH": f"{folder}:.frozen"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=limit(60),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PRINTED)
def test_the_programs_of_a_page_run(page: str, tmp_path: Path) -> None:
    mip_packages.install(PACKAGE.get(page, page), tmp_path)
    printed = run("\n".join(programs(page)), tmp_path)
    for expected in PRINTED[page]:
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"


def test_the_small_libraries(tmp_path: Path) -> None:
    """Each program beside the packages that the page names for it, and nothing else."""
    signing, cose, http, patching = programs("small-libraries")
    for name in ("ed25519", "cose", "http_client", "bspatch"):
        (tmp_path / name).mkdir()
        mip_packages.install(name, tmp_path / name)
    assert run(signing, tmp_path / "ed25519") == "b'03a107bf' True\nFalse 64\n"
    assert run(cose, tmp_path / "cose") == "b'hello' True True\n"

    old, new = bytes(range(256)) * 9, bytes(range(256)) * 4 + b"and more" + bytes(range(256)) * 5
    folder = tmp_path / "bspatch"
    (folder / "old").write_bytes(old)
    (folder / "patch").write_bytes(delta.make(old, new))
    assert run(patching, folder) == f"made {len(new)} bytes of {len(old)}\n"
    assert (folder / "made").read_bytes() == new

    (tmp_path / "page").write_bytes(new)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            place = f'"127.0.0.1", {server.server_port}'
            printed = run(http.replace('"192.168.1.10", 8000', place), tmp_path / "http_client")
        finally:
            server.shutdown()
            thread.join()
    assert printed == f"{len(new)} bytes\n" and (tmp_path / "http_client" / "page").read_bytes() == new


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...
