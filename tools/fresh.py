#!/usr/bin/env python3
"""Try the README on a bare Debian: debootstrap one, clone the repository into it, and run there what a reader types.

`make fresh` runs `make demo ARGS=--exit` and `make test` in it; FRESH_RUN="make check" runs something else. The new
system lies in the ignored folder .fresh. It has git, make and python3, as the README asks, and fetches packages as this
machine does (sources of apt, proxies, certificates, configuration of pip), but no service of it is started. What was
bootstrapped stays as an archive, so that the next run begins at once.

It needs root, for chroot and mounts. These are made in namespaces of their own: they end with us, whatever ends us.
Only the standard library is used.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import programs
import toolchain

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".fresh"
SYSTEM = HOME / "root"
ARCHIVES = HOME / "packages"  # downloaded packages, for the next run
PROJECT = "/root/tidegate"
README = ("make demo ARGS=--exit", "make test")
BARE = ("git", "make", "python3", "ca-certificates")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# How this machine reaches its registries, as far as variables say it.
PASSED = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("_proxy", "_PROXY")


def say(text: str) -> None:
    print(f"fresh: {text}", flush=True)


def fail(text: str, remedy: str) -> SystemExit:
    return SystemExit(f"fresh: error: {text}\n       {remedy}")


def run(*command: str | Path, **options: object) -> str:
    """Run quietly; on failure show what the command printed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:])
        raise fail(f"`{shlex.join(words)}` failed with exit code {done.returncode}", "What it printed is above.")
    return done.stdout


# ------------------------------------------------------------------ the system


def suite() -> str:
    """The code name of this machine's Debian."""
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise fail("/etc/os-release names no Debian release", "Run this on Debian.")


def bootstrap(name: str) -> Path:
    """The archive of a bare system of this release; made once."""
    archive = HOME / f"{name}.tar"
    if archive.exists():
        return archive
    mirror = toolchain.debian_mirror()
    if mirror is None:
        raise fail("apt knows no Debian mirror on this machine", "Run this on Debian, after `apt-get update`.")
    say(f"bootstrapping Debian {name} (some minutes, once)")
    folder = HOME / "bootstrap"
    shutil.rmtree(folder, ignore_errors=True)
    included = f"--include={','.join(BARE)}"
    run(programs.require("debootstrap"), "--variant=minbase", included, name, folder, mirror)
    part = archive.with_suffix(".part")
    run("tar", "--create", "--one-file-system", "--file", part, "--directory", folder, ".")
    shutil.rmtree(folder)
    part.rename(archive)
    return archive


def unpack(archive: Path) -> None:
    """A new SYSTEM that reaches its registries as this machine does."""
    shutil.rmtree(SYSTEM, ignore_errors=True)
    SYSTEM.mkdir(parents=True)
    run("tar", "--extract", "--file", archive, "--directory", SYSTEM)
    for path in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/xdg/pip", "/root/.config/pip", "/root/.pip"):
        take(Path(path))
    apt = Path("/etc/apt")
    (SYSTEM / "etc/apt/sources.list").unlink(missing_ok=True)
    for part in ("sources.list", "sources.list.d", "auth.conf", "auth.conf.d", "preferences.d", "trusted.gpg.d"):
        take(apt / part)
    for part in ("keyrings", "trusted.gpg"):
        take(apt / part)
    take(Path("/usr/share/keyrings"))
    # Of apt's settings those that say how to fetch; others, such as hooks, are this machine's own affair.
    for settings in (apt / "apt.conf", *sorted((apt / "apt.conf.d").glob("*"))):
        if settings.is_file() and "Acquire" in settings.read_text(errors="replace"):
            take(settings)
    take(Path("/usr/local/share/ca-certificates"))
    # No service may be started: it would listen on this machine's ports.
    policy = SYSTEM / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)


def take(path: Path) -> None:
    """Copy a file or folder of this machine to the same place in SYSTEM, if it is there."""
    target = SYSTEM / path.relative_to("/")
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    elif path.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(path, target)


def clone() -> str:
    """The repository at HEAD in SYSTEM; its commit."""
    commit = run("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip()
    if run("git", "-C", ROOT, "status", "--porcelain"):
        say("uncommitted changes are not part of what is tried")
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, f"{SYSTEM}{PROJECT}")
    return commit


# ------------------------------------------------------------------ inside


def mount() -> None:
    """What a running system has, in this process's own mount namespace."""
    run("mount", "-t", "proc", "proc", SYSTEM / "proc")
    run("mount", "-t", "sysfs", "-o", "ro", "sysfs", SYSTEM / "sys")
    for folder in ("dev", "run"):
        run("mount", "-t", "tmpfs", "-o", "mode=755", folder, SYSTEM / folder)
    for name in DEVICES:
        (SYSTEM / "dev" / name).touch()
        run("mount", "--bind", f"/dev/{name}", SYSTEM / "dev" / name)
    for name in ("pts", "shm"):
        (SYSTEM / "dev" / name).mkdir()
    run("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620", "devpts", SYSTEM / "dev/pts")
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "shm", SYSTEM / "dev/shm")
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1")):
        (SYSTEM / "dev" / name).symlink_to(target)
    (SYSTEM / "dev/stderr").symlink_to("fd/2")
    ARCHIVES.mkdir(exist_ok=True)
    (ARCHIVES / "partial").mkdir(exist_ok=True)
    run("mount", "--bind", ARCHIVES, SYSTEM / "var/cache/apt/archives")


def environment() -> dict[str, str]:
    """A login's variables, and those of ours that say how registries are reached."""
    passed = {key: value for key, value in os.environ.items() if key.startswith(PASSED) or key.endswith(PROXIES)}
    place = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "USER": "root"}
    return {**passed, **place, "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}


def inside(commands: list[str]) -> int:
    """Runs in the new namespaces: mounts, then each command in the clone; the exit code of the first that fails."""
    mount()
    if any((SYSTEM / "usr/local/share/ca-certificates").glob("*.crt")):
        run("chroot", SYSTEM, "update-ca-certificates", env=environment())
    for command in commands:
        say(f"$ {command}")
        started = time.monotonic()
        words = ["chroot", str(SYSTEM), "sh", "-c", f"cd {PROJECT} && {command}"]
        code = finish(subprocess.Popen(words, env=environment(), stdin=subprocess.DEVNULL))
        say(f"`{command}` ended with exit code {code} after {time.monotonic() - started:.0f} s")
        if code:
            return code
    return 0


def finish(process: subprocess.Popen[bytes]) -> int:
    """The exit code of our child; meanwhile, as the first process of the namespace, we bury the orphans."""
    while True:
        pid, status = os.wait()
        if pid == process.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


# ------------------------------------------------------------------ the command


def in_namespaces(commands: list[str]) -> int:
    """This program again, in namespaces of mounts and processes that end with it."""
    names = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    again = [sys.executable, str(Path(__file__).resolve()), "--inside", *commands]
    process = subprocess.Popen([programs.require("unshare"), *names, "--", *again])
    # Ctrl-C reaches everything inside too: wait until it has ended in order.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("commands", nargs="*", default=README, help="what to run there (default: the README's two)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="use the system of the run before as it is; clone nothing")
    options = parser.parse_args()
    if options.inside:
        return inside(options.commands)
    if os.geteuid() != 0:
        raise fail("building a system to chroot into needs root", "Run it as root:  sudo make fresh")
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise fail("another `make fresh` runs here", "Wait for its end.") from None
        if not options.keep or not SYSTEM.exists():
            name = suite()
            unpack(bootstrap(name))
            say(f"Debian {name}, bare, with the repository at {clone()}")
        return in_namespaces(options.commands)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("fresh: interrupted")
