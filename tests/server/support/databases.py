"""Databases for tests: SQLite always, and a PostgreSQL of the test's own where Debian's is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """The folder with initdb and postgres, of the newest version."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def missing() -> str:
    """Why there is no PostgreSQL to test with; empty when there is."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian: postgresql)"
    if os.geteuid() == 0 and not shutil.which("runuser"):
        return "PostgreSQL does not run as root, and there is no runuser"
    return ""


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A running server in a folder of its own, on a Unix socket only; gives the URL of an empty database."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-pg-"))
    as_user = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data, bin_folder = folder / "data", programs()
    try:
        initdb = [*as_user, str(bin_folder / "initdb"), "-D", str(data), "-U", "tidegate", "-A", "trust", "--no-sync"]
        subprocess.run([*initdb, "-E", "UTF8", "--locale=C"], check=True, capture_output=True, timeout=120)
        control = [*as_user, str(bin_folder / "pg_ctl"), "-D", str(data), "-w", "-t", "60"]
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=40"
        start = [*control, "-o", options, "-l", str(folder / "log"), "start"]
        # Its own output, not ours: the server would hold a pipe of ours open.
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=90)
        try:
            yield f"postgresql+psycopg://tidegate@/postgres?host={folder}"
        finally:
            stop = [*control, "-m", "immediate", "stop"]
            subprocess.run(stop, check=False, capture_output=True, timeout=90)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
