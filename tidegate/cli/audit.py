"""`tidegate audit verify`: the server's audit log, against heads that were written down elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidegate import audit_chain
from tidegate.cli._common import FILE, connect, emit, json_option, say, server_options
from tidegate.errors import TidegateError


@click.command(
    epilog="""\b
Examples:
  tidegate audit verify --against witness.heads --server https://gate.example
  tidegate audit verify --against witness.heads --against colleague.heads --json"""
)
@click.option(
    "--against",
    "files",
    type=FILE,
    multiple=True,
    envvar=audit_chain.WITNESS,
    show_envvar=True,
    help="File of heads; made if absent. The newest head is added to the first one. Repeat it for colleagues' files.",
)
@server_options
@json_option
def verify(files: tuple[Path, ...], server: str, token_file: Path | None, as_json: bool) -> None:
    """Fetch the server's audit log, compute its chain again, and check that it has all heads seen before.

    Heads seen are those in FILE and those that this user's commands noted with this server's answers: each that changes
    something notes the head, in the user's own folder or, of any server, in the file that TIDEGATE_WITNESS names. It
    needs a token with the scope admin. Keep FILE on another machine than the server: it shows any change at or before
    its newest head, and none after that.

    Exit code 1 if an entry was edited, cut off or made anew.
    """
    with connect(server, token_file) as api:
        heads = [*audit_chain.own_heads(api.url)]
        for number, file in enumerate(files):
            if number == 0 and not file.exists():
                continue
            heads += audit_chain.read(file)
        newest = audit_chain.verify(audit_chain.of_answer(api.audit()), heads)
        url = api.url
    if newest is None:
        raise TidegateError("the audit log is empty", "A server's own starts are in it: is this one's database new?")
    if files:
        try:
            audit_chain.append(files[0], newest, url)
        except OSError as error:
            raise TidegateError(f"cannot write {files[0]}: {error.strerror}", "The log itself is whole") from error
    api.witness(newest)
    answer = {"whole": True, "entries_to": newest.id, "head": newest.hash, "witnessed": len(set(heads))}

    def show(value: dict[str, Any]) -> None:
        say(
            f"The audit log is whole up to entry {value['entries_to']}; heads seen that are in it: {value['witnessed']}"
        )
        say(f"Head: {value['head']}")

    emit(answer, as_json, show)
