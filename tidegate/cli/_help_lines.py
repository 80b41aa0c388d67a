"""One line of help for a command that is not loaded: read from the source of its module, whose imports take a second
for all commands together."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path


def first_paragraph(where: str) -> str | None:
    """What the docstring of the command at `where` ("package.module:name") begins with; None where that is not to be
    read, and the command has to be loaded.

    Imports the packages that the module is in, not the module."""
    module, _, name = where.partition(":")
    try:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            return None
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (ImportError, OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            text = ast.get_docstring(node)
            return text and " ".join(text.split("\n\n")[0].split())
    return None
