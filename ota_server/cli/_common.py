"""What several of these commands share: the options that name the server's data, and who acts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ota_server.security import audit
from ota_server.store import Store
from tidegate import audit_chain
from tidegate.cli._common import FOLDER

DEFAULT_DATA = "tidegate-data"


def data_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--data",
        type=FOLDER,
        default=DEFAULT_DATA,
        show_default=True,
        envvar="TIDEGATE_DATA",
        help="The server's folder: database, payloads, secrets.",
    )(command)


def payloads_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--payloads",
        metavar="DIR|s3://BUCKET/PREFIX",
        default="",
        envvar="TIDEGATE_PAYLOADS",
        help="Where payloads are: a folder or a bucket that several servers may share. Default: DATA/payloads.",
    )(command)


def log_name(data: Path) -> str:
    """By what this user's heads of the log in DATA are found."""
    return str(data.resolve())


def note_head(store: Store, data: Path) -> None:
    """Note the log's head as this user's witness, after an act of this command line."""
    with store.read() as session:
        head = audit.head(session)
    if head is not None:
        audit_chain.note(log_name(data), head)


def me() -> str:
    """Who runs this command, for the audit log."""
    return f"cli:uid {os.getuid()}"
