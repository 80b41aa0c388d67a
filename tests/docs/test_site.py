"""The pages as a site, by mkdocs: every link leads somewhere, nothing comes from elsewhere, everything can be found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from patience import limit
from projects import ROOT

from tidegate import pages
from tidegate.cli import main

_ASSET = re.compile(
    r"""<(?:script|img|link rel="(?:stylesheet|preload|icon)")[^>]*(?:src|href)=["']?(https?://[^"'> ]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "NO_MKDOCS_2_WARNING": "1",
            "https_proxy": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9",
        },
        timeout=limit(120),
    )
    assert done.returncode == 0, done.stdout + done.stderr  # strict: a link that leads nowhere ends it, too
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in set((ROOT / "docs").rglob("*.md")) - {ROOT / "docs" / "README.md"}:  # the index is its navigation
        there = site / page.relative_to(ROOT / "docs").with_suffix(".html")
        assert there.is_file() or there.with_name("index.html").is_file(), page
    for page in (ROOT / "boards").glob("*/README.md"):
        assert (site / "boards" / f"{page.parent.name}.html").is_file(), page


def test_the_index_has_each_page_once() -> None:
    """docs/README.md, from which the site's navigation and `tidegate docs` are made."""
    listed = [(ROOT / "docs" / one.path).resolve() for one in pages.index(ROOT / "docs")]
    decisions = set((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    there = set((ROOT / "docs").rglob("*.md")) - {ROOT / "docs" / "README.md"} - decisions
    there |= {
        ROOT / "docs" / "wire.cddl",
        *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    }
    assert sorted(listed) == sorted(there)
    text = (ROOT / "docs" / "README.md").read_text()
    assert text.count("\n- ") == len(listed), "a line of the index is no entry"


def test_the_navigation_has_the_groups_of_the_index(site: Path) -> None:
    home = (site / "index.html").read_text()
    tabs = re.findall(r'<li class="md-tabs__item[^"]*">\s*<a[^>]*>\s*(.*?)\s*</a>', home, re.DOTALL)
    assert tabs == ["Home", *dict.fromkeys(one.group for one in pages.index(ROOT / "docs"))]


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not _ASSET.findall(page.read_text()), page


def test_what_people_look_for_is_found(site: Path) -> None:
    entries = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    for word in ("rollback", "manifest", "mpremote", "threshold", "TIDEGATE_TOKEN"):
        assert any(word in entry["text"] or word in entry["title"] for entry in entries), word


def commands(group: click.Group, name: str) -> list[str]:
    context = click.Context(group)
    found = []
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if command is None or command.hidden:
            continue
        found.append(f"{name} {word}")
        if isinstance(command, click.Group):
            found += commands(command, f"{name} {word}")
    return found


def test_every_command_is_on_the_reference_page(site: Path) -> None:
    page = (site / "reference" / "cli.html").read_text()
    assert isinstance(main, click.Group)
    names = commands(main, "tidegate")
    assert len(names) > 60
    assert not [name for name in names if f'id="{name.replace(" ", "-")}"' not in page]


def test_what_an_application_imports_is_explained(site: Path) -> None:
    page = (site / "reference" / "gate.html").read_text()
    for name in ("Agent.run", "Stream", "Measure", "Frame.receive", "opcode", "Uptime"):
        assert f'.{name}"' in page, name
