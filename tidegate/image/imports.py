"""Which modules an application can come to import: the files that an image of it needs.

Imports are followed wherever they stand, in functions too, as modules on demand are imported there. Names of modules
in strings are read from the tables that the device itself uses (`_BY_NAME`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path

_LAZY = "gate"  # its names load their modules when they are used
_TABLE = "gate.exports"  # which is which


def reachable(
    sources: Mapping[str, Path],
    roots: Sequence[Path],
    extra: Sequence[str],
    allows: Callable[[Set[str], str], bool],
) -> set[str]:
    """Names of the modules of `sources` ({dotted name: file}) that the files `roots` come to import, and of packages
    around them. What `roots` and `extra` name is never left out; allows(these, module): whether a module of `sources`
    may import another.
    """
    found: set[str] = set()
    used: set[str] = set()
    waiting: list[str] = []

    def add(names: Iterable[str], free: bool) -> None:
        for name in names:
            parts = name.split(".")
            for count in range(1, len(parts) + 1):
                module = ".".join(parts[:count])
                if module in sources and module not in found and (free or allows(used, module)):
                    found.add(module)
                    waiting.append(module)

    for path in roots:
        add(_imports(path, sources), True)
    add(extra, True)
    used |= found
    while waiting:
        module = waiting.pop()
        add(_imports(sources[module], sources, module), False)
    return found


def names_used(paths: Sequence[Path]) -> set[str]:
    """The names that these files import from `gate`, or use as gate.NAME; `Agent(data=...)` counts as "data="."""
    used = set()
    for path in paths:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ImportFrom) and node.module == _LAZY:
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == _LAZY:
                used.add(node.attr)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Agent"):
                used |= {f"{keyword.arg}=" for keyword in node.keywords}
    return used


def parse(path: Path) -> ast.Module:
    """The tree of a source file; an empty one where it does not compile, which mpy-cross reports."""
    try:
        return ast.parse(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def named(node: ast.AST) -> Iterator[str]:
    """Every name in an import statement that may be a module; nothing of another node."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imports(path: Path, sources: Mapping[str, Path], module: str = "") -> Iterator[str]:
    """Every name that may be a module: of import statements, and of the module's table in strings."""
    tree = parse(path)
    for node in ast.walk(tree):
        yield from named(node)
        if isinstance(node, ast.Import) and _LAZY in {alias.name for alias in node.names}:
            yield from _lazy_names(sources, _attributes(tree))
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module == _LAZY:
            yield from _lazy_names(sources, {alias.name for alias in node.names})
    if module in _BY_NAME:
        yield from _BY_NAME[module](tree)
    if module in _BY_LOADER:
        yield _BY_LOADER[module]


def _attributes(tree: ast.Module) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == _LAZY
    }


def _lazy_names(sources: Mapping[str, Path], names: set[str]) -> Iterator[str]:
    """The modules behind names of `gate`, as its table has them; a module of the package by its own name."""
    if _TABLE in sources:
        yield _TABLE
        for module, offered in _table(sources[_TABLE]):
            if names & offered:
                yield f"{_LAZY}.{module}"
        yield from (f"{_LAZY}.{name}" for name in sorted(names))


def exported(gate: Path) -> set[str]:
    """The names that the package in the folder `gate` has for applications."""
    table = gate / "exports.py"
    return {name for _, offered in _table(table) for name in offered} if table.exists() else set()


def _table(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Each module below gate, and the names it has for applications."""
    for entry in constant(parse(path), "NAMES").split():
        module, _, offered = entry.partition(":")
        yield module, set(offered.split(","))


def constant(tree: ast.Module, name: str) -> str:
    """The text assigned to `name` at the top of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return str(ast.literal_eval(node.value))
    raise ValueError(f"there is no {name}")


def _opcodes(tree: ast.Module) -> Iterator[str]:
    """gate.commands.builtin_opcodes: the first argument of each Opcode is "module.function" of the package ops."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Opcode" and node.args:
            function = node.args[0]
            if isinstance(function, ast.Constant) and isinstance(function.value, str):
                yield "gate.commands.ops." + function.value.rpartition(".")[0]


def _decoders(tree: ast.Module) -> Iterator[str]:
    """bspatch.adaptive: the names that decoder() tries."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "decoder":
            yield from ast.literal_eval(node.args.defaults[0])


# Modules that import by a name in a string, and how their tables are read. A test holds that there are no others.
_BY_NAME: dict[str, Callable[[ast.Module], Iterator[str]]] = {
    "gate.commands.builtin_opcodes": _opcodes,
    "bspatch.adaptive": _decoders,
}
# Module -> what it has the loader import at the next start.
_BY_LOADER = {"gate.update.offers": "gate.bare"}
LOADING = frozenset({_LAZY, *_BY_NAME})
