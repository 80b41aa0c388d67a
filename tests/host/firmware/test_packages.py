"""Every package of firmware/packages is whole: its files exist, and import nothing that it does not install."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mip_packages
import pytest
from patience import limit

ROOT = Path(__file__).resolve().parents[3]
LIB = ROOT / "firmware/lib"
UNIX = ROOT / "build/unix/micropython"
BUILT_IN = {"asyncio", "binascii", "deflate", "errno", "gc", "hashlib", "io", "json", "micropython", "os"}
# What CPython lacks of MicroPython: no board needs it.
BUILT_IN |= {"aiotcp_cpython"}
# Native modules: machine code for one core, that a library uses where it finds it and does without.
BUILT_IN |= {"_ed25519", "_bspatch"}
BUILT_IN |= {"array", "collections", "zlib", "random", "re", "socket", "ssl", "struct", "sys", "time"}
# Imported where a program asks for it, and installed by a package of its own.
OPTIONAL = {"mqtt": {"mqtt.v5"}}
# The names of the packages are a promise to who installs them.
NAMES = (
    "aiotcp bspatch cbor coap coap-client coap-core coap-server cose ed25519 http_client mqtt mqtt5 senml_cbor sha512"
)


def test_the_packages_there_are() -> None:
    assert mip_packages.names() == NAMES.split()


@pytest.mark.parametrize("name", mip_packages.names())
def test_a_package_is_whole(name: str) -> None:
    installed = mip_packages.files(name)
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in installed}
    for path, source in installed.items():
        assert source.is_file(), f"{name} installs {path} from {source}, which does not exist"
        assert source == LIB / path, f"{name} installs {path} from another place"
        missing = set(imports(source)) - BUILT_IN - modules - OPTIONAL.get(name, set())
        assert not missing, f"{path} imports {missing}, which package {name} does not install"


@pytest.mark.parametrize("name", mip_packages.names())
def test_a_manifest_freezes_what_mip_installs(name: str) -> None:
    manifest = Manifest(name)
    described = mip_packages.described(name)
    assert manifest.files == {path for path, _ in described["urls"]}
    assert manifest.required == mip_packages.dependencies(name)
    assert manifest.version == described["version"]


@pytest.mark.parametrize("name", mip_packages.names())
def test_the_version_is_the_library_s(name: str) -> None:
    version = mip_packages.described(name)["version"]
    library = {"mqtt5": "mqtt"}.get(name, name.partition("-")[0])
    found = [version_of(path) for path in (LIB / f"{library}.py", LIB / library / "__init__.py") if path.exists()]
    assert found == [version], "the package's version, __version__ and the manifest's are one"


def test_every_library_is_in_a_package() -> None:
    found = {path for name in mip_packages.names() for path in mip_packages.files(name)}
    there = {path.relative_to(LIB).as_posix() for path in LIB.rglob("*.py") if LIB / "gate" not in path.parents}
    assert there - found == {"aiotcp_cpython.py"}, "which is for tests on CPython only"


@pytest.mark.built
@pytest.mark.skipif(not UNIX.exists(), reason="build/unix/micropython is not built")
@pytest.mark.parametrize(
    ("name", "program", "absent"),
    [
        ("coap-client", "from coap.client import Client, fetch; import coap.observe, coap.reader", "coap.server"),
        (
            "coap-server",
            "from coap.server import Reply, Server; import coap.notify, coap.echo, coap.core",
            "coap.client",
        ),
        ("coap", "import coap.client, coap.server", ""),
        ("mqtt", "from mqtt import Client; import mqtt.large, mqtt.messages; Client('a', 'h')", "mqtt.v5"),
        ("mqtt5", "from mqtt import Client; Client('a', 'h', version=5)", ""),
        ("senml_cbor", "import senml_cbor; from senml_cbor import reader", ""),
        ("cose", "import cose, cbor.writer, ed25519.sign", "senml_cbor"),
        ("http_client", "from http_client.get import get; from http_client.post import post", "mqtt"),
        ("bspatch", "import bspatch; from bspatch import adaptive; adaptive.decoder()", "cbor"),
    ],
)
def test_a_role_alone_imports(name: str, program: str, absent: str, tmp_path: Path) -> None:
    """With only the package installed: what it is for works, and another role's modules are not there."""
    mip_packages.install(name, tmp_path)
    if absent:
        program += (
            f"\ntry:\n    import {absent}\nexcept ImportError:\n    pass\nelse:\n    raise SystemExit('{absent}')"
        )
    done = subprocess.run(
        [UNIX, "-c", program],
        env={**os.environ, "MICROPYPATH": f"{tmp_path}:.frozen"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=limit(60),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def imports(source: Path) -> Iterable[str]:
    """Modules that it imports anywhere; of a library in a package the module itself, not the package."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield named(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            inner = [name for name in below if (LIB / (name.replace(".", "/") + ".py")).exists()]
            yield from inner or [named(node.module)]


def named(module: str) -> str:
    return module if (LIB / module.partition(".")[0]).exists() else module.partition(".")[0]


def version_of(source: Path) -> str | None:
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            found: str = ast.literal_eval(node.value)
            return found
    return None


class Manifest:
    """What manifest.py freezes, requires and calls its version."""

    def __init__(self, name: str):
        self.files: set[str] = set()
        self.required: list[str] = []
        self.version = ""
        functions = [self.metadata, self.add_library, self.require, self.module, self.package]
        source = (mip_packages.PACKAGES / name / "manifest.py").read_text()
        exec(compile(source, name, "exec"), {function.__name__: function for function in functions})

    def metadata(self, description: str, version: str) -> None:
        assert description
        self.version = version

    def add_library(self, library: str, path: str) -> None:
        assert (library, path) == ("tidegate", "..")

    def require(self, name: str, library: str) -> None:
        assert library == "tidegate"
        self.required.append(name)

    def module(self, path: str, base_path: str) -> None:
        assert base_path == "../../lib"
        self.files.add(path)

    def package(self, name: str, files: Any, base_path: str) -> None:
        assert base_path == "../../lib"
        self.files |= {f"{name}/{file}" for file in files}
