"""`tidegate audit`: is the log of acts whole?"""

from __future__ import annotations

from pathlib import Path

import click

from ota_server.cli._common import data_option, log_name
from ota_server.config import Config
from ota_server.first_start import prepare
from ota_server.security import audit as log_of_acts
from tidegate import audit_chain
from tidegate.cli._common import emit, json_option, say
from tidegate.cli.audit import verify


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def audit(context: click.Context, data: Path, as_json: bool) -> None:
    """Check the audit log: that each entry follows from the one before it, and that no head seen before is missing.

    Heads seen are those that this user's commands on this machine noted. Whoever can write the database may be able to
    write those, too: `tidegate audit verify` on another machine cannot be misled so.

    \b
    Examples:
      tidegate audit --data server
      tidegate audit verify --against witness.heads --server https://gate.example
    """
    if context.invoked_subcommand is not None:
        return
    with prepare(Config(data=data)).read() as session:
        newest = audit_chain.verify(log_of_acts.entries(session), audit_chain.own_heads(log_name(data)))
    if newest is not None:
        audit_chain.note(log_name(data), newest)
    facts = {"whole": True, "entries_to": newest.id if newest else 0, "head": newest.hash if newest else ""}
    emit(facts, as_json, lambda _: say("the audit log is whole"))


audit.add_command(verify)
