"""Imports of an application that neither its image nor MicroPython has: an error here, and not a crash on the board."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator

from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.image import imports
from tidegate.image.build import source_files
from tidegate.libraries.modules import MICROPYTHON, own_names
from tidegate.sources import Sources

# What MicroPython's own builds for some board have frozen in.
_FROZEN = """
aioespnow apa106 dht ds18x20 lcd160cr lcd160cr_test lsm6dsox mip modem neopixel ntptime onewire requests umqtt upysh
urequests urllib
"""
_STOCK = MICROPYTHON | frozenset(_FROZEN.split())
_CATCHES = {"ImportError", "Exception", "BaseException"}


def check(sources: Sources, board: Board) -> None:
    """TidegateError for the first such import. One within `try` with `except ImportError` may fail, so it is let by."""
    files = source_files(sources, board)
    modules = {_module(name) for name, path in files if path.suffix == ".py"}
    packages = {".".join(parts[:count]) for parts in map(_parts, modules) for count in range(1, len(parts) + 1)}
    tops = {name for name in packages if "." not in name}
    beside = {path.stem for path in sources.app.iterdir()}  # what an application calls without naming its package
    anywhere = _STOCK | own_names(sources.library) | beside
    for name, path in files:
        if not name.startswith("app/") or path.suffix != ".py":
            continue
        for wanted, line in _imports(imports.parse(path).body):
            top = wanted.partition(".")[0]
            if wanted in packages or (top in anywhere and top not in tops):
                continue
            close = difflib.get_close_matches(wanted, packages | _STOCK, 1)
            raise TidegateError(
                f"{path}:{line} imports {wanted}, which neither the image nor MicroPython has",
                (f"Did you mean {close[0]}? Otherwise name" if close else "Name")
                + " its library in `requires` of [libraries] and run `tidegate lock`."
                " What only the board's firmware has is imported within try: and except ImportError:",
            )


def _parts(module: str) -> list[str]:
    return module.split(".")


def _module(name: str) -> str:
    """Of a file of the image, app/x.py or lib/x.py."""
    return name.removeprefix("lib/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(body: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """Each absolute import in these statements and below, with its line, but those whose failure is caught."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level and node.module:
                yield node.module, node.lineno
        elif isinstance(node, ast.Try) and any(map(_catches, node.handlers)):
            yield from _imports([*node.handlers, *node.orelse, *node.finalbody])
        elif not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield from _imports(ast.iter_child_nodes(node))


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in _CATCHES for kind in kinds)
