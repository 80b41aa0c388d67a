"""`tidegate docs`: every page that the tools name can be read without a checkout."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable

from click.testing import Result
from projects import ROOT

from tidegate import pages
from tidegate.project import create

Cli = Callable[..., Result]


def test_a_page_is_found_by_its_name_and_by_its_file(cli: Cli) -> None:
    text = (ROOT / "docs" / "project.md").read_text()
    for word in ("project", "project.md", "docs/project.md"):
        assert cli("docs", word).stdout == text
    assert json.loads(cli("docs", "project", "--json").stdout) == {"page": "project", "text": text}


def test_the_list_has_their_titles(cli: Cli) -> None:
    assert re.search(r"^  tutorial +Your first gateway in ten minutes$", cli("docs").stdout, re.MULTILINE)
    found = json.loads(cli("docs", "--json").stdout)
    assert all(one["title"] and one["group"] for one in found) and "ci" in {one["page"] for one in found}


def test_the_list_is_that_of_the_index(cli: Cli) -> None:
    listed = [line for line in cli("docs").stdout.splitlines() if line]
    assert max(map(len, listed)) <= 80
    headings = [line for line in listed if not line.startswith(" ")]
    index = pages.index(ROOT / "docs")
    assert headings == [*(group.upper() for group in dict.fromkeys(one.group for one in index)), "EACH BOARD"]
    for board in (ROOT / "boards").glob("*/README.md"):
        for word in (f"boards/{board.parent.name}", f"boards/{board.parent.name}/README.md"):
            assert cli("docs", word).stdout == board.read_text()


def test_each_page_of_the_index_can_be_read(cli: Cli) -> None:
    """But those that only the site or a checkout has."""
    elsewhere = {"reference/cli.md", "reference/gate.md"}
    for one in pages.index(ROOT / "docs"):
        if one.path not in elsewhere and not one.path.startswith("../"):
            assert cli("docs", one.path).stdout == (ROOT / "docs" / one.path).read_text()


def test_what_pages_link_to_can_be_read(cli: Cli) -> None:
    for word, path in (
        ("decisions/0006-rollback.md", "decisions/0006-rollback.md"),
        ("decisions/0006-rollback", "decisions/0006-rollback.md"),
        ("docs/wire.cddl", "wire.cddl"),
        ("ops/alerts.yaml", "ops/alerts.yaml"),
    ):
        assert cli("docs", word).stdout == (ROOT / "docs" / path).read_text()


def test_the_application_s_reference_is_the_text_of_the_code(cli: Cli) -> None:
    """Each name that an application imports is in it, with its arguments and what it does."""
    text = cli("docs", "reference/gate").stdout
    assert "### gate.application.measurement(name, unit=None, scale=1, " in text
    assert "What an application says of itself with decorators" in text and ":::" not in text
    for name in ("command", "setting", "health", "ready", "Agent", "Stream", "Measure", "opcode", "Call", "LinkError"):
        assert re.search(rf"^### gate\.(\w+\.)*{name}\b", text, re.MULTILINE), name
    assert "### gate.agent.Agent.now()" in text and "self" not in re.findall(r"\((\w+)", text)


def test_what_is_not_a_page(cli: Cli) -> None:
    for word, remedy in (
        ("projct", "Did you mean project?"),
        ("../README", "lists them all"),
        ("/etc/passwd", "lists"),
    ):
        done = cli("docs", word)
        assert done.exit_code == 1 and f"there is no page {word}" in done.stderr and remedy in done.stderr, done.stderr


def test_messages_name_pages_as_they_can_be_read_here(cli: Cli) -> None:
    """`tidegate docs config`, which a wheel has, and not docs/config.md, which only a checkout has."""
    named = set()
    for path in sorted((ROOT / "tidegate").rglob("*.py")):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                assert not re.findall(r"\bdocs/[\w/-]+\.md", node.value), f"{path}:{node.lineno}: {node.value}"
                named |= set(re.findall(r"`tidegate docs ([\w/-]+)`", node.value))
    assert len(named) > 8
    for page in named:
        assert cli("docs", page).exit_code == 0, page


def test_the_pages_that_a_new_project_names_are_there(cli: Cli) -> None:
    named = {
        page
        for path in create.TEMPLATES.iterdir()
        if path.is_file()
        for page in re.findall(r"`tidegate docs (\S+?)`", path.read_text())
    }
    assert len(named) >= 3
    for page in named:
        assert cli("docs", page).exit_code == 0, page
