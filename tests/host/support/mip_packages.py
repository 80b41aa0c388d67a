"""The packages of firmware/packages, installed by mip's own code from this checkout.

A server on loopback has its files where the forge would.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

from mpremote import mip

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ROOT / "firmware/packages"
REPOSITORY = "tidegate/tidegate"
ADDRESS = f"github:{REPOSITORY}/firmware/packages/"
FILES = f"github:{REPOSITORY}/firmware/lib/"


def names() -> list[str]:
    return sorted(path.parent.name for path in PACKAGES.glob("*/package.json"))


def described(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PACKAGES / name / "package.json").read_text())
    return found


def dependencies(name: str) -> list[str]:
    """The packages that it names itself."""
    found = []
    for address, version in described(name)["deps"]:
        assert address.startswith(ADDRESS) and version == "main", f"{name} depends on {address} {version}"
        found.append(address.removeprefix(ADDRESS))
    return found


def files(name: str) -> dict[str, Path]:
    """{path on the board: source} of a package and all that it depends on."""
    found = {}
    for path, url in described(name)["urls"]:
        assert url.startswith(FILES), f"{name} takes {url}; not every server folds ../ in an address"
        found[path] = ROOT / "firmware/lib" / url.removeprefix(FILES)
    for other in dependencies(name):
        found.update(files(other))
    return found


def install(name: str, folder: Path) -> None:
    """As `mpremote mip install github:…/NAME` does, to a board whose file system is `folder`."""
    with _forge() as host, contextlib.redirect_stdout(None):
        hosts = {"github:": host + "/{}/{}/{}/{p}"}
        prefixes = ("https://", "http://", *mip._ALLOWED_MIP_URL_PREFIXES[2:])  # the second is that of `hosts`
        with mock.patch.multiple(mip, _HOSTS=hosts, _ALLOWED_MIP_URL_PREFIXES=prefixes):
            mip._install_package(_Board(), ADDRESS + name, "http://127.0.0.1:9", str(folder), None, False)


class _Board:
    """What mip asks of a board's file system."""

    def fs_exists(self, path: str) -> bool:
        return Path(path).exists()

    def fs_mkdir(self, path: str) -> None:
        Path(path).mkdir()

    def fs_writefile(self, path: str, data: bytes, progress_callback: Callable[..., None]) -> None:
        Path(path).write_bytes(data)


@contextlib.contextmanager
def _forge() -> Iterator[str]:
    """Host and port of a server that has the files of this checkout at REPOSITORY, whatever branch is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            repository, _, rest = self.path.strip("/").partition("/firmware/")
            path = ROOT / "firmware" / rest
            there = repository.startswith(f"{REPOSITORY}/") and ".." not in rest and path.is_file()
            body = path.read_bytes() if there else b""
            self.send_response(200 if there else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
