"""Every external program that code, tests, tools or documentation start, and the Debian package that brings it.

tools/setup.py installs from this table, tests find their programs through it, and tests/tools/test_programs.py fails
when something starts a program that is not in it. Only the standard library: this is imported before anything is
installed.

A program belongs to the purposes that cannot do without it:

- CHECK: `make check`, lint, types and the tests that need neither boards nor brokers;
- DEMO:  `make demo`, the toolchain and the emulated board;
- TEST:  `make test`, everything;
- FRESH: `make fresh`, a bare Debian to try the README's commands in;
- no purpose: named in documentation, or taken only where it happens to be installed; never installed by us.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHECK, DEMO, TEST, FRESH = PURPOSES = ("check", "demo", "test", "fresh")
EVERY = frozenset((CHECK, DEMO, TEST))
BUILD = frozenset((DEMO, TEST))
TESTS = frozenset((TEST,))
DEBIAN_POSTGRESQL = Path("/usr/lib/postgresql")


class MissingProgram(Exception):
    """A program of the table is not installed; the text names it and its package."""


@dataclass(frozen=True)
class Program:
    """What must be on PATH (or in `folder`, a glob pattern), and the Debian package that brings it.

    optional: the purposes are still served without it, because it cannot be had everywhere; tests that need it are
    skipped, and say so.
    """

    package: str
    purposes: frozenset[str] = frozenset()
    folder: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Library:
    """Headers or modules that no program on PATH shows; `found` tries them."""

    package: str
    purposes: frozenset[str]
    found: Callable[[], bool]


# Part of every Debian, however small: Essential or of priority "required".
_ESSENTIAL = {
    "bash": ("bash", "sh"),
    "coreutils": (
        *(
            "cat",
            "chmod",
            "chown",
            "chroot",
            "cksum",
            "cp",
            "cut",
            "df",
            "dirname",
            "env",
            "head",
            "install",
            "ln",
            "ls",
            "mkdir",
            "mktemp",
            "mv",
            "pwd",
            "rm",
        ),
        *("seq", "sleep", "sort", "tail", "tee", "timeout", "touch", "tr", "true", "uname"),
    ),
    "diffutils": ("cmp", "diff"),
    "dpkg": ("dpkg", "dpkg-deb"),
    "apt": ("apt-get", "apt-config"),
    "findutils": ("find",),
    "grep": ("grep",),
    "gzip": ("gzip",),
    "mount": ("mount", "umount"),
    "sed": ("sed",),
    "tar": ("tar",),
    "util-linux": ("flock", "prlimit", "runuser", "setpriv", "unshare"),
}

PROGRAMS: dict[str, Program] = {
    **{name: Program(package) for package, names in _ESSENTIAL.items() for name in names},
    # What the README asks for.
    "git": Program("git", EVERY),
    "make": Program("make", EVERY),
    "python3": Program("python3", EVERY),
    # The toolchain and the emulated board.
    "gcc": Program("gcc", BUILD),
    "pkg-config": Program("pkg-config", BUILD),
    "xz": Program("xz-utils", BUILD),
    "arm-none-eabi-gcc": Program("gcc-arm-none-eabi", BUILD),
    "arm-none-eabi-size": Program("binutils-arm-none-eabi", BUILD),
    "arm-none-eabi-strip": Program("binutils-arm-none-eabi", BUILD),
    "strip": Program("binutils", BUILD),
    "qemu-system-arm": Program("qemu-system-arm", BUILD),
    "qemu-aarch64": Program("qemu-user", TESTS, optional=True),  # gateways on ARM64
    # MicroPython for the Pico (boards/rpi_pico), in `make boards`.
    "cmake": Program("cmake"),
    "arm-none-eabi-ar": Program("binutils-arm-none-eabi", BUILD),
    "arm-none-eabi-objcopy": Program("binutils-arm-none-eabi", BUILD),
    # Peers and judges of the tests.
    "openssl": Program("openssl", frozenset((CHECK, TEST))),
    "mosquitto": Program("mosquitto", TESTS),
    "mosquitto_passwd": Program("mosquitto", TESTS),
    "mosquitto_pub": Program("mosquitto-clients", TESTS),
    "mosquitto_sub": Program("mosquitto-clients", TESTS),
    "nats-server": Program("nats-server", TESTS),
    "coap-client-notls": Program("libcoap3-bin", TESTS),
    "coap-server-notls": Program("libcoap3-bin", TESTS),
    "initdb": Program("postgresql", TESTS, folder=f"{DEBIAN_POSTGRESQL}/*/bin"),
    "pg_ctl": Program("postgresql", TESTS, folder=f"{DEBIAN_POSTGRESQL}/*/bin"),
    "pg_dump": Program("postgresql-client", TESTS),
    "pg_restore": Program("postgresql-client", TESTS),
    "promtool": Program("prometheus", TESTS, optional=True),  # checks docs/ops; the package also starts a server
    "chromium": Program("chromium", TESTS, optional=True),  # Ubuntu has it only as a snap
    # A token for keys, and the tool that signs with it.
    "softhsm2-util": Program("softhsm2", TESTS, optional=True),
    "pkcs11-tool": Program("opensc", TESTS, optional=True),
    # Sets the clock of one process; only the tests about clocks that jump want it.
    "libfaketime.so.1": Program("libfaketime", TESTS, folder="/usr/lib/*/faketime", optional=True),
    # What a Linux gateway starts for the opcodes about its host (gate/commands/ops/host.py).
    "ip": Program("iproute2", TESTS),
    "ss": Program("iproute2", TESTS),
    "journalctl": Program("systemd"),
    "systemctl": Program("systemd"),
    "systemd-analyze": Program("systemd", TESTS),
    # A proxy before the server, and what docs/operate.md types on a server.
    "nginx": Program("nginx-light", TESTS),
    "curl": Program("curl"),
    "createdb": Program("postgresql"),
    "createuser": Program("postgresql"),
    "useradd": Program("passwd"),
    "logger": Program("bsdutils"),
    "mail": Program("mailutils"),
    # A broker of several nodes; the soak takes it where it is installed.
    "rabbitmq-server": Program("rabbitmq-server", folder="/usr/lib/rabbitmq/bin"),
    "epmd": Program("erlang-base"),
    "fw_printenv": Program("libubootenv-tool"),
    # make fresh.
    "debootstrap": Program("debootstrap", frozenset((FRESH,))),
    # Taken where it is.
    "sudo": Program("sudo"),
}


def _links(*arguments: str) -> bool:
    """Whether a compiler run succeeds: the honest probe for headers and libraries."""
    try:
        done = subprocess.run(arguments, capture_output=True, input="int main(void){return 0;}", text=True)
    except FileNotFoundError:  # the compiler itself is missing
        return False
    return done.returncode == 0


def _knows_libffi() -> bool:
    return bool(find("pkg-config")) and subprocess.run(["pkg-config", "--exists", "libffi"]).returncode == 0


LIBRARIES = (
    Library("python3-venv", EVERY, lambda: all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))),
    Library("libc6-dev", BUILD, lambda: _links("gcc", "-xc", "-", "-o", "/dev/null")),
    Library("libffi-dev", BUILD, _knows_libffi),
    Library(
        "libnewlib-arm-none-eabi",
        BUILD,
        lambda: _links("arm-none-eabi-gcc", "-xc", "-", "--specs=nosys.specs", "-o", "/dev/null"),
    ),
)


def find(name: str) -> str | None:
    """Where a program of the table is, None if it is not installed; KeyError for one that is not in the table."""
    program = PROGRAMS[name]
    if program.folder:
        # Of several versions the newest, by number: 9 comes before 15.
        folders = sorted(Path("/").glob(program.folder.lstrip("/")), key=_version)
        return next((str(folder / name) for folder in reversed(folders) if (folder / name).exists()), None)
    return shutil.which(name, path=search_path())


def require(name: str) -> str:
    """Where a program of the table is; raises MissingProgram, which names the package, if it is not installed."""
    path = find(name)
    if path is None:
        raise MissingProgram(f"{name} is not installed; Debian and Ubuntu: apt-get install {PROGRAMS[name].package}")
    return path


def missing_packages(purpose: str, optional: bool = False) -> list[str]:
    """The Debian packages that `purpose` lacks here; with `optional` those that it can do without."""
    missing = {
        program.package
        for name, program in PROGRAMS.items()
        if purpose in program.purposes and program.optional == optional and not find(name)
    }
    if not optional:
        missing |= {library.package for library in LIBRARIES if purpose in library.purposes and not library.found()}
    return sorted(missing)


def search_path() -> str:
    """PATH with the sbin folders, where Debian keeps daemons such as mosquitto."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _version(folder: Path) -> list[int]:
    return [int(part) for part in folder.parts if part.isdigit()]
