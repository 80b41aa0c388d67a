"""The options that say who signs: key files, or a program that has the key."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tidegate.cli._common import FILE
from tidegate.trust import external_signer, keys


def signing_options(role: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--key, --signer and --public, as `signers`: a list of Key. `role`: of the keys, for the help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(
            *, key_files: tuple[Path, ...], programs: tuple[str, ...], publics: tuple[Path, ...], **others: Any
        ) -> Any:
            return command(signers=_signers(key_files, programs, publics), **others)

        for option in (
            click.option(
                "--public", "publics", type=FILE, multiple=True, help="The public key of --signer: FILE.pub of the key."
            ),
            click.option(
                "--signer",
                "programs",
                metavar="COMMAND",
                multiple=True,
                help="Program that signs its standard input, in place of --key; with --public.",
            ),
            click.option("--key", "key_files", type=FILE, multiple=True, help=f"{role} key; repeat it for several."),
        ):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def _signers(key_files: tuple[Path, ...], programs: tuple[str, ...], publics: tuple[Path, ...]) -> list[keys.Key]:
    if len(programs) != len(publics):
        raise click.UsageError("each --signer needs its --public, in the same order")
    if not key_files and not programs:
        raise click.UsageError("Missing option '--key', or '--signer' with '--public'.")
    by_program = [external_signer.external(keys.load(file), text) for text, file in zip(programs, publics, strict=True)]
    return [*(keys.load(file) for file in key_files), *by_program]
