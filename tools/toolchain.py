#!/usr/bin/env python3
"""Fetch the C sources the firmware is built from: MicroPython, lwIP, mbedtls.

Everything lands in ``.toolchain/micropython`` as one tree, with lwIP and mbedtls at ``lib/lwip`` and ``lib/mbedtls``
where MicroPython's build files expect them. Running it again does nothing when the tree is already right.

MicroPython is 1.25.0, or the version of VERSIONS that the environment variable ``TIDEGATE_MICROPYTHON_VERSION`` names.

Where the sources come from, in this order:

1. the tree named by the environment variable ``TIDEGATE_MICROPYTHON`` (checked, never changed);
2. the source packages of Debian, through apt with private folders, so that the machine's own package lists stay
   untouched and nothing has to run as root; the mirror's address is the machine's own, apt checks the signatures;
3. elsewhere, a clone of MicroPython's own repository (this way is not covered by the tests).

Only the standard library is used: this runs before any virtual environment exists.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".toolchain"
TREE = HOME / "micropython"
STAMP = ".tidegate-sources"

# Version -> (the Debian release that has it, SHA-256 of the upstream archive). The first is the one that is shipped.
# Debian 13 is stable, so that its upstream versions do not move; a later release may bring another one any day.
VERSIONS = {
    "1.25.0": ("trixie", "7b25be99a502f070b2de81dafc08da7051d992325d6e67daa9045a918fffdbea"),
    "1.26.1": ("forky", "f5ad2ec89d3e921f753d448955af98b6005655f84ba26087dde6ba0e8d062f34"),
}
VERSION = os.environ.get("TIDEGATE_MICROPYTHON_VERSION") or next(iter(VERSIONS))
UPSTREAM = "https://github.com/micropython/micropython.git"
SUBMODULES = ("lib/lwip", "lib/mbedtls", "lib/micropython-lib")

SUITE = "trixie"  # has the other packages
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SECURITY_SUITE = re.compile(r"-(security|updates|backports|proposed-updates)\b|/updates$")

# Source package beside MicroPython's -> (place in the tree, SHA-256 of the upstream archive). Debian may bring a newer
# patch release of mbedtls 3.6 as a security update, so its archive is held to the signed package description only.
PACKAGES = {
    "lwip": ("lib/lwip", "83729c274c499d3348e9fbbe043a3113f3fa8953e7efddc7c21c7fcbb1f2b7b1"),
    "mbedtls": ("lib/mbedtls", None),
}

# One file per part whose presence shows that the part is there.
WITNESSES = {
    "py/mkrules.mk": "MicroPython itself",
    "lib/lwip/src/core/init.c": "lwIP (submodule lib/lwip)",
    "lib/mbedtls/library/ssl_tls.c": "mbedtls (submodule lib/mbedtls)",
    "lib/micropython-lib/README.md": "micropython-lib (submodule lib/micropython-lib)",
}


class ToolchainError(Exception):
    """What went wrong and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def say(text: str) -> None:
    print(f"toolchain: {text}", flush=True)


# --- the tree ------------------------------------------------------------------------------------------------------


def tree_version(tree: Path) -> str:
    """The version a MicroPython tree says it is, such as ``1.25.0``; raises ToolchainError when it is no such tree."""
    header = tree / "py" / "mpconfig.h"
    try:
        text = header.read_text()
    except OSError as error:
        raise ToolchainError(
            f"{tree} is no MicroPython source tree ({error.strerror}: py/mpconfig.h)",
            f"point TIDEGATE_MICROPYTHON at a checkout of MicroPython v{VERSION}, or unset it",
        ) from None
    numbers = [re.search(rf"#define MICROPY_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR", "MICRO")]
    return ".".join(match.group(1) if match else "?" for match in numbers)


def check_tree(tree: Path) -> None:
    """Raise ToolchainError unless `tree` is MicroPython in VERSION with the libraries the firmware needs."""
    found = tree_version(tree)
    if found != VERSION:
        raise ToolchainError(
            f"{tree} is MicroPython {found}, the firmware is to be built from {VERSION}",
            f"check out v{VERSION} there, unset TIDEGATE_MICROPYTHON, or name the version in "
            f"TIDEGATE_MICROPYTHON_VERSION: {' or '.join(VERSIONS)}",
        )
    for name, part in WITNESSES.items():
        if not (tree / name).exists():
            raise ToolchainError(
                f"{tree} lacks {part}",
                f"git -C {tree} submodule update --init {' '.join(SUBMODULES)}",
            )


def is_complete(tree: Path) -> bool:
    """Whether `tree` was put there by this version of this tool."""
    try:
        return (tree / STAMP).read_text() == recipe()
    except OSError:
        return False


def recipe() -> str:
    """A text that changes whenever the tree would come out differently."""
    pins = "\n".join(f"{name} {where} {pin or 'signed'}" for name, (where, pin) in PACKAGES.items())
    return f"micropython {VERSION} {VERSIONS[VERSION][1]}\n{pins}\n"


# --- from Debian's source packages ---------------------------------------------------------------------------------


def debian_mirror() -> str | None:
    """The address of the Debian archive this machine already uses, read through apt; None when there is none."""
    if not shutil.which("apt-get"):
        return None
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(ORIGIN)", "Created-By: Packages"],
        capture_output=True,
        text=True,
    )
    debian = Path("/etc/debian_version").exists() and "ID=debian" in _os_release()
    for line in answer.stdout.splitlines():
        uri, release, origin = line.split("|")
        # Without downloaded lists apt does not know the origin and leaves the placeholder: go by the system's name.
        ours = origin == "Debian" or (origin.startswith("$(") and debian)
        if ours and not SECURITY_SUITE.search(release):
            return uri.rstrip("/")
    return None


def _os_release() -> list[str]:
    try:
        return Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return []


class PrivateApt:
    """apt-get with its own sources, lists and cache, so that the machine's are neither read nor changed."""

    def __init__(self, folder: Path, mirror: str, architecture: str | None = None, suite: str = SUITE) -> None:
        """For the sources of a suite, or for its packages of an architecture."""
        self.folder = folder
        self.architecture = architecture
        for part in ("sources", "lists/partial", "cache/archives/partial", "packages"):
            (folder / part).mkdir(parents=True)
        signed_by = f"Signed-By: {KEYRING}\n" if KEYRING.exists() else ""
        types = f"deb\nArchitectures: {architecture}" if architecture else "deb-src"
        (folder / "sources" / "debian.sources").write_text(
            f"Types: {types}\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n{signed_by}"
        )
        self.packages = folder / "packages"

    def run(self, *words: str) -> None:
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self.folder / "sources",
            "Dir::State::Lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache",
            "APT::Sandbox::User": "root",  # the private folders are ours, not _apt's
            "Acquire::Retries": "3",
            "Acquire::Languages": "none",
        }
        if self.architecture:
            settings |= {"APT::Architecture": self.architecture, "APT::Architectures": self.architecture}
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        done = subprocess.run(["apt-get", "-q", *options, *words], cwd=self.packages, text=True, capture_output=True)
        trouble = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W: Failed", "Err"))]
        if done.returncode or trouble:
            raise ToolchainError(
                f"apt-get {' '.join(words)} failed: {'; '.join(trouble) or done.stderr.strip()}",
                "check the network and the machine's apt mirror; if the signature is unknown, upgrade the package "
                "debian-archive-keyring; without a mirror set TIDEGATE_MICROPYTHON or use --from upstream",
            )


def fetch_from_debian(tree: Path, mirror: str, scratch: Path) -> None:
    suite, pin = VERSIONS[VERSION]
    by_suite: dict[str, dict[str, tuple[str, str | None]]] = {suite: {"micropython": (".", pin)}}
    by_suite.setdefault(SUITE, {}).update(PACKAGES)
    for name_of_suite, packages in by_suite.items():
        apt = PrivateApt(scratch / name_of_suite, mirror, suite=name_of_suite)
        say(f"reading the package lists of Debian {name_of_suite} (about 10 MB)")
        apt.run("update")
        for name, (where, digest) in packages.items():
            say(f"fetching the source of {name}")
            apt.run("source", "--download-only", name)
            unpack(checked_archive(apt.packages, name, digest), tree / where)


def checked_archive(folder: Path, name: str, pin: str | None) -> Path:
    """The upstream archive of source package `name`, its SHA-256 checked against `pin` or the signed description."""
    archives = sorted(folder.glob(f"{name}_*.orig.tar.*"))
    archives = [path for path in archives if path.suffix in (".xz", ".gz", ".bz2")]
    if len(archives) != 1:
        raise ToolchainError(f"the source package {name} has no single upstream archive", "report this as a bug")
    [archive] = archives
    if pin is None:
        description = next(folder.glob(f"{name}_*.dsc")).read_text()
        listed = re.search(rf"^ ([0-9a-f]{{64}}) \d+ {re.escape(archive.name)}$", description, re.MULTILINE)
        pin = listed.group(1) if listed else "nothing"
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != pin:
        raise ToolchainError(
            f"{archive.name} has SHA-256 {found}, expected {pin}",
            "the mirror's file is damaged or another version; try another mirror or set TIDEGATE_MICROPYTHON",
        )
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` into `folder`, without the archive's own top folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as name:
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(name, filter="data")
            else:  # Python 3.11.0 to 3.11.3; the archive's digest has been checked
                tar.extractall(name)
        [top] = Path(name).iterdir()
        shutil.copytree(top, folder, symlinks=True, dirs_exist_ok=True)


# --- from MicroPython's own repository -----------------------------------------------------------------------------


def fetch_from_upstream(tree: Path) -> None:
    if not shutil.which("git"):
        raise ToolchainError("git is not installed", "install git, or set TIDEGATE_MICROPYTHON")
    say(f"cloning {UPSTREAM} at v{VERSION} (this way is not covered by the tests)")
    quiet = ["-c", "advice.detachedHead=false"]
    run_git(*quiet, "clone", "--quiet", "--depth", "1", "--branch", f"v{VERSION}", UPSTREAM, str(tree))
    run_git("-C", str(tree), "submodule", "--quiet", "update", "--init", "--depth", "1", *SUBMODULES)


def run_git(*words: str) -> None:
    done = subprocess.run(["git", *words], text=True, capture_output=True)
    if done.returncode:
        raise ToolchainError(
            f"git {' '.join(words)} failed: {done.stderr.strip()}",
            f"check the network, or set TIDEGATE_MICROPYTHON to a checkout of MicroPython v{VERSION}",
        )


# --- the command ---------------------------------------------------------------------------------------------------


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let only one of several concurrent builds fetch."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare(source: str = "auto") -> Path:
    """Make sure that a right source tree exists and return it; raises ToolchainError with a remedy."""
    if VERSION not in VERSIONS:
        raise ToolchainError(
            f"TIDEGATE_MICROPYTHON_VERSION is {VERSION!r}, which has not been tried",
            f"name one of {', '.join(VERSIONS)}, or unset it",
        )
    given = os.environ.get("TIDEGATE_MICROPYTHON")
    if given:
        tree = Path(given).resolve()
        check_tree(tree)
        say(f"using MicroPython {VERSION} in {tree} (TIDEGATE_MICROPYTHON)")
        return tree
    HOME.mkdir(exist_ok=True)
    with lock(HOME / "lock"):
        if is_complete(TREE):
            say(f"MicroPython {VERSION}, lwIP and mbedtls are in {TREE.relative_to(ROOT)}")
            return TREE
        with tempfile.TemporaryDirectory(dir=HOME, prefix="fetch-") as name:
            fresh = Path(name) / "micropython"
            mirror = debian_mirror() if source in ("auto", "debian") else None
            if mirror:
                fetch_from_debian(fresh, mirror, Path(name))
                # Debian leaves out micropython-lib; freezing a manifest asks for this file even if it needs no more.
                (fresh / "lib" / "micropython-lib" / "README.md").touch()
            elif source == "debian":
                raise ToolchainError(
                    "apt knows no Debian mirror on this machine",
                    f"set TIDEGATE_MICROPYTHON to a checkout of MicroPython v{VERSION}, or use --from upstream",
                )
            else:
                fetch_from_upstream(fresh)
            check_tree(fresh)
            (fresh / STAMP).write_text(recipe())
            shutil.rmtree(TREE, ignore_errors=True)
            fresh.rename(TREE)
    say(f"MicroPython {VERSION}, lwIP and mbedtls are ready in {TREE.relative_to(ROOT)}")
    return TREE


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--from",
        dest="source",
        choices=("auto", "debian", "upstream"),
        default="auto",
        help="where to fetch from",
    )
    options = parser.parse_args(arguments)
    try:
        prepare(options.source)
    except ToolchainError as error:
        print(f"toolchain: error: {error}\ntoolchain: remedy: {error.remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
