"""`tidegate doctor`: what this machine lacks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from tidegate import doctor as machine
from tidegate.cli._common import emit, json_option, say


@click.command(
    epilog="""\b
Examples:
  tidegate doctor
  tidegate doctor --json"""
)
@json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Look at this machine, and say for each thing that is missing which line installs it.

    Exit code 1 if something that `tidegate dev` needs is missing.
    """
    findings = machine.examine()
    bad = [finding for finding in findings if not finding.is_good]

    def show(_: Any) -> None:
        for finding in findings:
            mark = "ok     " if finding.is_good else "missing" if finding.needed else "without"
            say(f"{mark}  {finding.what}: {finding.found}")
            if not finding.is_good:
                say(f"         for {finding.for_what}: {finding.remedy}")
        say("Everything is there." if not bad else "Run these lines, then look again.")

    emit([{**asdict(finding), "ok": finding.is_good} for finding in findings], as_json, show)
    if any(finding.needed for finding in bad):
        context.exit(1)
