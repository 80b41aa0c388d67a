"""A PostgreSQL of the test's own, from Debian's package."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import programs
import sqlalchemy as sa
from patience import limit


class PostgreSQL:
    """A cluster in a folder of its own, on a Unix socket only. durable: each commit is synced."""

    def __init__(self, folder: Path, *, durable: bool = False):
        as_user = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            as_user = [programs.require("runuser"), "-u", "postgres", "--"]
        self._folder, self._data, self._durable = folder, folder / "data", durable
        self.url = f"postgresql+psycopg://tidegate@/postgres?host={folder}"
        self._as_user: list[str] = as_user
        initdb = [*as_user, programs.require("initdb"), "-D", str(self._data), "-U", "tidegate", "-A", "trust"]
        initdb += ["--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(initdb, check=True, capture_output=True, timeout=limit(120))

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c max_connections=40"
        options += f" -c fsync={'on' if self._durable else 'off'}"
        # Its own output, not ours: the server would hold a pipe of ours open.
        self._control("-o", options, "-l", str(self._folder / "log"), "start", stdout=subprocess.DEVNULL)

    def stop(self, mode: str = "immediate") -> None:
        """mode: fast, as an init system does it; immediate: without a goodbye, and recovered at the next start."""
        self._control("-m", mode, "stop", stdout=subprocess.DEVNULL)

    def _control(self, *arguments: str, stdout: int) -> None:
        control = [*self._as_user, programs.require("pg_ctl"), "-D", str(self._data), "-w", "-t", "60"]
        subprocess.run([*control, *arguments], check=True, stdout=stdout, stderr=stdout, timeout=limit(90))


@contextlib.contextmanager
def restartable() -> Iterator[PostgreSQL]:
    """A running, durable one that the test may stop and start."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-pg-"))
    try:
        server = PostgreSQL(folder, durable=True)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # it may be stopped
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgresql(*, durable: bool = False) -> Iterator[str]:
    """A running server; gives the URL of an empty database. durable: each commit is synced, which few tests need."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-pg-"))
    try:
        server = PostgreSQL(folder, durable=durable)
        server.start()
        try:
            yield server.url
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new(cluster: str) -> str:
    """The URL of a new, empty database of the server that has this one."""
    name = f"tg{time.monotonic_ns()}"
    admin = sa.create_engine(cluster, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return cluster.replace("/postgres?", f"/{name}?")
