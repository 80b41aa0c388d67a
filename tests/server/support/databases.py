"""A PostgreSQL of the test's own, from Debian's package."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import programs
from patience import limit


@contextlib.contextmanager
def postgresql(*, durable: bool = False) -> Iterator[str]:
    """A running server in a folder of its own, on a Unix socket only; gives the URL of an empty database.

    durable: each commit is synced, which a test has no need of.
    """
    folder = Path(tempfile.mkdtemp(prefix="tidegate-pg-"))
    as_user = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        as_user = [programs.require("runuser"), "-u", "postgres", "--"]
    data = folder / "data"
    try:
        initdb = [*as_user, programs.require("initdb"), "-D", str(data), "-U", "tidegate", "-A", "trust", "--no-sync"]
        subprocess.run([*initdb, "-E", "UTF8", "--locale=C"], check=True, capture_output=True, timeout=limit(120))
        control = [*as_user, programs.require("pg_ctl"), "-D", str(data), "-w", "-t", "60"]
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c max_connections=40"
        options += f" -c fsync={'on' if durable else 'off'}"
        start = [*control, "-o", options, "-l", str(folder / "log"), "start"]
        # Its own output, not ours: the server would hold a pipe of ours open.
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=limit(90))
        try:
            yield f"postgresql+psycopg://tidegate@/postgres?host={folder}"
        finally:
            stop = [*control, "-m", "immediate", "stop"]
            subprocess.run(stop, check=False, capture_output=True, timeout=limit(90))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
