"""tools/toolchain.py: what it says when the sources are not what they should be."""

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "tools" / "toolchain.py"


@pytest.fixture
def toolchain():
    spec = importlib.util.spec_from_file_location("toolchain", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_tree(folder: Path, version: str = "1.25.0") -> Path:
    parts = zip(("MAJOR", "MINOR", "MICRO"), version.split("."), strict=True)
    (folder / "py").mkdir(parents=True)
    (folder / "py/mpconfig.h").write_text(
        "".join(f"#define MICROPY_VERSION_{part} {number}\n" for part, number in parts)
    )
    return folder


def run(tree: Path, **more: str) -> subprocess.CompletedProcess:
    environment = {"TIDEGATE_MICROPYTHON": str(tree), "PATH": "/usr/bin:/bin", **more}
    return subprocess.run([sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True)


def test_a_folder_without_sources_is_refused(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert "is no MicroPython source tree" in done.stderr
    assert "remedy: " in done.stderr


def test_another_version_is_refused(tmp_path):
    done = run(a_tree(tmp_path / "tree", "1.26.1"))
    assert done.returncode == 1
    assert "is MicroPython 1.26.1" in done.stderr


def test_the_other_version_is_taken_where_it_is_named(tmp_path, toolchain):
    tree = a_tree(tmp_path / "tree", "1.26.1")
    for name in toolchain.WITNESSES:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    (a_tree(tmp_path / "header", "1.26.1") / "py/mpconfig.h").rename(tree / "py/mpconfig.h")
    assert "using MicroPython 1.26.1" in run(tree, TIDEGATE_MICROPYTHON_VERSION="1.26.1").stdout
    assert "TIDEGATE_MICROPYTHON_VERSION: 1.25.0 or 1.26.1" in run(tree).stderr


def test_a_version_that_nobody_tried_is_refused(tmp_path):
    done = run(tmp_path, TIDEGATE_MICROPYTHON_VERSION="1.19")
    assert done.returncode == 1 and "'1.19', which has not been tried" in done.stderr
    assert "name one of 1.25.0, 1.26.1" in done.stderr


def test_missing_submodules_are_named(tmp_path, toolchain):
    tree = a_tree(tmp_path / "tree")
    (tree / "py/mkrules.mk").touch()
    done = run(tree)
    assert done.returncode == 1
    assert "lacks lwIP" in done.stderr
    assert "submodule update --init lib/lwip" in done.stderr
    for name in toolchain.WITNESSES:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    assert run(tree).returncode == 0


def test_a_changed_archive_is_refused(tmp_path, toolchain):
    (tmp_path / "lwip_2.2.1+dfsg1.orig.tar.xz").write_bytes(b"not lwIP")
    with pytest.raises(toolchain.ToolchainError, match="has SHA-256"):
        toolchain.checked_archive(tmp_path, "lwip", toolchain.PACKAGES["lwip"][1])


def test_an_archive_without_pin_is_held_to_its_description(tmp_path, toolchain):
    archive = tmp_path / "mbedtls_3.6.9.orig.tar.bz2"
    archive.write_bytes(b"sources")
    digest = "f8ed8cf5e5f9b5d8ec5bb3a4d6a04bb4f0c2f4a9a7c2c9d3f7bd8ff1b5b5c7aa"
    description = tmp_path / "mbedtls_3.6.9-1.dsc"
    description.write_text(f"Checksums-Sha256:\n {digest} 7 {archive.name}\n")
    with pytest.raises(toolchain.ToolchainError, match="expected f8ed8cf5"):
        toolchain.checked_archive(tmp_path, "mbedtls", None)
    right = hashlib.sha256(b"sources").hexdigest()
    description.write_text(f"Checksums-Sha256:\n {right} 7 {archive.name}\n")
    assert toolchain.checked_archive(tmp_path, "mbedtls", None) == archive


@pytest.mark.parametrize(
    ("lines", "mirror"),
    [
        ("http://m/debian/|bookworm|Debian\n", "http://m/debian"),
        ("http://s/debian-security/|bookworm-security|Debian\nhttp://m/debian/|trixie|Debian\n", "http://m/debian"),
        ("http://u/ubuntu/|noble|Ubuntu\n", None),
        ("http://x/repo/|stable|Docker\nhttp://m/debian/|bookworm-updates|Debian\n", None),
        ("", None),
    ],
)
def test_the_mirror_is_the_machines_own(tmp_path, toolchain, monkeypatch, lines, mirror):
    fake = tmp_path / "apt-get"
    fake.write_text(f"#!/bin/sh\ncat <<'end'\n{lines}end\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert toolchain.debian_mirror() == mirror
