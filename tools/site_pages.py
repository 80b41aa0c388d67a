"""Pages of the site that do not lie in docs/, and links between all of them; a hook of mkdocs.

Pages of this repository link to each other as files, so that they can be read where they lie. On the site, a link to a
file that has a page there leads to it, and one to any other file is left as its name.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from tidegate import pages

ROOT = Path(__file__).resolve().parent.parent
# Pages beside docs/, by their place in the repository.
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "docs/wire.cddl": "wire.md",
    **{
        f"boards/{page.parent.name}/README.md": f"boards/{page.parent.name}.md"
        for page in ROOT.glob("boards/*/README.md")
    },
}
_LINK = re.compile(r"(?<!!)\[([^\]\[]+)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of ELSEWHERE."""
    for path, page in ELSEWHERE.items():
        text = (ROOT / path).read_text()
        if path.endswith(".cddl"):
            text = f"# Wire formats\n\nThe messages in CDDL (RFC 8610): `{path}`.\n\n```\n{text}\n```\n"
        files.append(File.generated(config, page, content=text))
    return files


def on_config(config: Any) -> Any:
    """The navigation: what docs/README.md names, and each board's page by its own title."""
    boards = [{_title(path): page} for path, page in ELSEWHERE.items() if page.startswith("boards/")]
    groups: dict[str, list[dict[str, str]]] = {}
    for entry in pages.index(ROOT / "docs"):
        groups.setdefault(entry.group, []).append({entry.title: _page_of(posixpath.normpath(f"docs/{entry.path}"))})
    groups["Boards"] += boards
    config.nav += [{group: entries} for group, entries in groups.items()]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turns links between files of the repository into links between pages."""
    source = _file_of(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        path, _, fragment = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return found.group()
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        goal = _page_of(there)
        if files.get_file_from_path(goal) is None:
            if not (ROOT / there).exists():
                raise ValueError(f"{source}: the link to {target} leads nowhere")
            return f"{words} (`{there}`)" if words.strip("`/") not in there else words
        relative = posixpath.relpath(goal, posixpath.dirname(page.file.src_uri) or ".")
        return f"[{words}]({relative}{'#' + fragment if fragment else ''})"

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def _title(path: str) -> str:
    heading = next(line for line in (ROOT / path).read_text().splitlines() if line.startswith("# "))
    return heading[2:].replace("`", "")


def _file_of(page: str) -> str:
    return next((path for path, other in ELSEWHERE.items() if other == page), f"docs/{page}")


def _page_of(path: str) -> str:
    if path == "docs/decisions":
        return "decisions/README.md"
    if path == "boards":
        return ELSEWHERE["boards/qemu_mps2/README.md"]
    return ELSEWHERE.get(path) or ELSEWHERE.get(f"{path}/README.md") or path.removeprefix("docs/")
