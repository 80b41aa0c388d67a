"""Who imports whom, read from the text of modules; nothing is imported.

Imports count wherever they stand: at the top, in a function's body, for types only, and as `__import__("name")` or
`import_module("name")` with the name written out. An import of a name counts for the module that the name is, or else
for the module it is taken from. That a package's `__init__` is run on the way to its modules does not count.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Graph = dict[str, set[str]]  # module -> the modules it imports


def modules(folder: Path, prefix: str = "") -> dict[str, Path]:
    """{dotted name: file} of all modules below `folder`, which is on the path as `prefix` (a package's name, or "")."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        name = ".".join((*filter(None, [prefix]), *parts))
        if name:
            found[name] = path
    return found


def graph(files: Mapping[str, Path]) -> Graph:
    """The imports of these modules among each other."""
    return {name: set(_imported(name, path, files)) - {name} for name, path in files.items()}


def outside(files: Mapping[str, Path]) -> Graph:
    """{module: top-level names that it imports from elsewhere}."""
    tops = {name.partition(".")[0] for name in files}
    return {name: {target.partition(".")[0] for target, _ in _named(name, path)} - tops for name, path in files.items()}


def _imported(name: str, path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    for module, taken in _named(name, path):
        for candidate in (f"{module}.{taken}" if taken else "", module):
            if candidate in files:
                yield candidate
                break


def _named(name: str, path: Path) -> tuple[tuple[str, str], ...]:
    """(module, name taken from it or "") of each import in the file."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return _read(package, path.read_text())


@functools.cache  # the same modules are looked at for several contracts
def _read(package: str, text: str) -> tuple[tuple[str, str], ...]:
    return tuple(_walk(package, ast.parse(text)))


def _walk(package: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join((*above, *filter(None, [node.module])))
            yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("__import__", "import_module") and isinstance(node.args[0].value, str):
                yield node.args[0].value, ""


def circles(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The groups of modules that import each other, round about (strongly connected components); sorted."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        open_.append(name)
        for target in imports.get(name, ()):
            if target not in number:
                visit(target)
            if target in open_:
                lowest[name] = min(lowest[name], lowest[target])
        if lowest[name] == number[name]:
            at = open_.index(name)
            group = open_[at:]
            del open_[at:]
            if len(group) > 1 or name in imports.get(name, ()):
                found.append(sorted(group))

    for name in imports:
        if name not in number:
            visit(name)
    return sorted(found)


@dataclass(frozen=True)
class Arrow:
    importer: str
    imported: str

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported}"


def against(imports: Graph, floors: tuple[tuple[str, ...], ...], room: Callable[[str], str]) -> list[Arrow]:
    """The imports that go up, or across from one room of a floor to another.

    floors: the names of rooms from the ground up. room: the room of a module. Raises KeyError with the module whose
    room stands on no floor.
    """
    height = {name: at for at, names in enumerate(floors) for name in names}
    found = []
    for importer, targets in imports.items():
        for imported in targets:
            here, there = room(importer), room(imported)
            for name, module in ((here, importer), (there, imported)):
                if name not in height:
                    raise KeyError(f"{module} is in room {name!r}, which stands on no floor: give it one")
            if here != there and height[here] <= height[there]:
                found.append(Arrow(importer, imported))
    return sorted(found, key=str)
