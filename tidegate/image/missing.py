"""What an application imports and neither its image nor MicroPython has: an error here, not a crash on the board."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

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
_MAKES_NAMES = {"exec", "globals"}
_CATCHES = {"ImportError", "Exception", "BaseException"}


def check(sources: Sources, board: Board) -> None:
    """TidegateError for the first such import. One within `try` with `except ImportError` may fail, so it is let by."""
    files = source_files(sources, board)
    modules = {_module(name): path for name, path in files if path.suffix == ".py"}
    packages = {".".join(parts[:count]) for parts in map(_parts, modules) for count in range(1, len(parts) + 1)}
    tops = {name for name in packages if "." not in name}
    beside = {path.stem for path in sources.app.iterdir()}  # what an application calls without naming its package
    anywhere = _STOCK | own_names(sources.library) | beside
    for name, path in files:
        if not name.startswith("app/") or path.suffix != ".py":
            continue
        for wanted, names, line in _imports(imports.parse(path).body):
            top = wanted.partition(".")[0]
            if wanted in modules:
                below = {package.removeprefix(wanted + ".") for package in packages if package.startswith(wanted + ".")}
                _check_names(f"{path}:{line}", wanted, names, modules[wanted], below)
            if wanted in packages or (top in anywhere and top not in tops):
                continue
            close = difflib.get_close_matches(wanted, packages | _STOCK, 1)
            raise TidegateError(
                f"{path}:{line} imports {wanted}, which neither the image nor MicroPython has",
                (f"Did you mean {close[0]}? Otherwise name" if close else "Name")
                + " its library in `requires` of [libraries] and run `tidegate lock`."
                " What only the board's firmware has is imported within try: and except ImportError:",
            )


def _check_names(where: str, module: str, names: list[str], source: Path, below: set[str]) -> None:
    """TidegateError for the first of `names` that the module does not define and that is no module `below` it."""
    defined = _defined(imports.parse(source))
    if defined is None:
        return
    if module == "gate":
        defined |= imports.exported(source.parent)
    elif "__getattr__" in defined:
        return
    for name in names:
        if name not in defined | below and not name.startswith("__"):  # which every module has
            close = difflib.get_close_matches(name, defined | below, 1)
            raise TidegateError(
                f"{where} imports {name} from {module}, which has no such name",
                f"Did you mean {close[0]}?" if close else f"Correct the name; {source} has what there is",
            )


def _defined(tree: ast.Module) -> set[str] | None:
    """The names that a module may have after its import; None where a star, or code that makes names, leaves that."""
    if any(isinstance(node, ast.Name) and node.id in _MAKES_NAMES for node in ast.walk(tree)):
        return None
    found = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if alias.name == "*":
                    return None
                found.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return found


def _parts(module: str) -> list[str]:
    return module.split(".")


def _module(name: str) -> str:
    """Of a file of the image, app/x.py or lib/x.py."""
    return name.removeprefix("lib/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(body: Iterable[ast.AST]) -> Iterator[tuple[str, list[str], int]]:
    """The module of each absolute import in these statements and below, the names taken from it, and the line; not of
    those whose failure is caught."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, [], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if not node.level and node.module:
                yield node.module, [alias.name for alias in node.names if alias.name != "*"], node.lineno
        elif isinstance(node, ast.Try) and any(map(_catches, node.handlers)):
            yield from _imports([*node.handlers, *node.orelse, *node.finalbody])
        elif not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield from _imports(ast.iter_child_nodes(node))


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in _CATCHES for kind in kinds)
