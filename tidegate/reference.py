"""Pages of docs/reference as text: each line `::: NAME` replaced by what the device library says of that module or
class, its signatures and docstrings. The site has the same from mkdocstrings, which only a checkout has.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_NAMED = re.compile(r"^::: (\S+)$((?:\n    .*)*)", re.MULTILINE)
_MEMBERS = re.compile(r"members: \[(.*)\]")

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def text(page: Path, library: Path) -> str:
    """The page's Markdown. library: the folder firmware/lib. LookupError for a name that is not in it."""

    def described(match: re.Match[str]) -> str:
        members = _MEMBERS.search(match[2])
        return "\n".join(_described(library, match[1], members[1].split(", ") if members else None)).rstrip()

    return _NAMED.sub(described, page.read_text(encoding="utf-8"))


def _described(library: Path, name: str, members: list[str] | None) -> Iterator[str]:
    path = library.joinpath(*name.split("."))
    file = next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)
    if file is None:  # a class of a module
        module, _, member = name.rpartition(".")
        if not module:
            raise LookupError(f"the device library has no module {name}")
        yield from _described(library, module, [member])
        return
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if members is None:
        yield f"## {name}\n"
        yield f"{ast.get_docstring(tree) or ''}\n"
    defined = {node.name: node for node in tree.body if isinstance(node, _Definition)}
    for member in members or [found for found in defined if found[0] != "_"]:
        if member not in defined:
            raise LookupError(f"{name} has no {member}")
        yield from _definition(defined[member], f"{name}.{member}")


def _definition(node: _Definition, name: str) -> Iterator[str]:
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    made_by = next((one for one in methods if one.name == "__init__"), None) if isinstance(node, ast.ClassDef) else node
    yield f"### {name}{_signature(made_by) if made_by else ''}\n"
    if docstring := ast.get_docstring(node):
        yield f"{docstring}\n"
    if isinstance(node, ast.ClassDef):
        if made_by and (docstring := ast.get_docstring(made_by)):
            yield f"{docstring}\n"
        for one in methods:
            if one.name[0] != "_" and ast.get_docstring(one):
                yield from _definition(one, f"{name}.{one.name}")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    arguments = node.args
    for some in (arguments.posonlyargs, arguments.args):
        if some and some[0].arg == "self":
            del some[0]
            break
    return f"({ast.unparse(arguments)})"
