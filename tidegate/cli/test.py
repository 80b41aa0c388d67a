"""`tidegate test`: the project's own tests, on every ground."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from tidegate import project as projects
from tidegate.cli._common import complain, emit, json_option, say
from tidegate.dev import testing
from tidegate.errors import TidegateError


@click.command(
    epilog="""\b
Examples:
  tidegate test
  tidegate test --ground cpython --ground unix -k temperature"""
)
@click.option(
    "--ground",
    "grounds",
    type=click.Choice(testing.GROUNDS),
    multiple=True,
    help="Only there; repeat it.",
)
@click.option("-k", "pattern", default="", metavar="TEXT", help="Only tests with TEXT in their name.")
@json_option
def test(grounds: tuple[str, ...], pattern: str, as_json: bool) -> None:
    """Run the functions test_... of tests/test_*.py on CPython, on MicroPython for Linux, and on the emulated board.

    A ground that this machine lacks is left out, and said, unless it was named. Exit code 1 if a test failed.
    """
    project = projects.find_project()
    tests = testing.find(project, pattern)
    results: list[testing.Result] = []
    for ground in grounds or testing.GROUNDS:
        try:
            for result in testing.run(project, ground, tests):
                results.append(result)
                if not as_json:
                    _show(result)
        except testing.NotHere as error:
            if grounds:
                raise
            complain(f"{ground}: left out, {error.message}. {error.remedy}")
    failed = [result for result in results if not result.passed]

    def show(_: Any) -> None:
        say(f"{len(results) - len(failed)} passed, {len(failed)} failed")

    emit([asdict(result) for result in results], as_json, show)
    if failed:
        names = ", ".join(f"{result.test} ({result.ground})" for result in failed[:3])
        raise TidegateError(f"{len(failed)} of {len(results)} tests failed: {names}", "Their traces are above")


def _show(result: testing.Result) -> None:
    say(f"{'ok    ' if result.passed else 'FAILED'}  {result.ground:<8} {result.test}")
    if not result.passed and result.output:
        say("\n".join(f"        {line}" for line in result.output.splitlines()))
