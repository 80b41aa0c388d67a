"""functions.py MODULES CONTENT: write a C file CONTENT with the frozen modules of the C file
MODULES, which MicroPython's makemanifest.py wrote, and, ready in flash, the functions of those
that stay loaded (functions.c beside this). The board's Makefile calls both.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "firmware" / "lib"
PLACE = "tidegate/"
ASYNCIO = "asyncio/"  # of MicroPython, which stays, too
# What gate.compose and gate.application import in functions, to stay.
LATER = (
    "gate.commands.application_opcodes",
    "gate.commands.queue",
    "gate.update.data_offers",
    "gate.update.restart",
)
_MODULE = re.compile(r"^// frozen module (\w+)\n.*\n// - frozen file name: (\S+)\n", re.MULTILINE)
_FUNCTION = re.compile(
    r"^static const byte fun_data_(\w+)\[\d+\] = \{\n    (0x[0-9a-f,x]+), // prelude", re.MULTILINE
)
_GENERATOR = 0x01  # MP_SCOPE_FLAG_GENERATOR of py/runtime0.h


def write(modules: Path, content: Path) -> None:
    """modules, content: the two C files."""
    text = modules.read_text()
    found = dict(_functions(text, staying(sources())))
    lines = [f'#include "{modules.name}"', '#include "py/objfun.h"', '#include "functions.h"', ""]
    lines.append(f"mp_module_context_t functions_contexts[{len(found)}];")
    for at, (module, functions) in enumerate(found.items()):
        lines.append(f"static const function_t functions_{module}[] = {{")
        for name, generator in functions:
            kind = "mp_type_gen_wrap" if generator else "mp_type_fun_bc"
            children = f"children_{name}"
            children = children if f" {children}[]" in text else "NULL"
            lines.append(
                f"    {{{{&{kind}}}, &functions_contexts[{at}], {children}, fun_data_{name}}},"
            )
        lines.append("};")
    lines.append("const functions_t functions_of[] = {")
    lines += [
        f"    {{&frozen_module_{module}, functions_{module}, MP_ARRAY_SIZE(functions_{module})}},"
        for module in found
    ]
    lines += ["};", "const size_t functions_modules = MP_ARRAY_SIZE(functions_of);", ""]
    content.write_text("\n".join(lines))


def _functions(text: str, names: frozenset[str]) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """For each frozen module of these names what C calls it, and its functions: name in C, whether
    it is a generator.
    """
    from tidegate.image.build import dotted

    heads = list(_MODULE.finditer(text))
    for head, end in zip(heads, [*(head.start() for head in heads[1:]), len(text)], strict=True):
        ours = head[2].startswith(PLACE) and dotted(head[2].removeprefix(PLACE)) in names
        if ours or head[2].startswith(ASYNCIO):
            pieces = _FUNCTION.finditer(text, head.end(), end)
            yield head[1], [(piece[1], is_generator(piece[2])) for piece in pieces]


def is_generator(prelude: str) -> bool:
    """By the first numbers of a function's bytecode (MP_BC_PRELUDE_SIG_DECODE of py/bc.h)."""
    numbers = [int(number, 16) for number in prelude.split(",")]
    flags = 0
    for place, (before, number) in enumerate(zip(numbers, numbers[1:], strict=False)):
        if not before & 0x80:
            break
        flags |= (number & 0x40) >> 6 << place
    return bool(flags & _GENERATOR)


def sources() -> dict[str, ast.Module]:
    """{name of each module of the device library: its tree}"""
    from tidegate.image.build import dotted
    from tidegate.image.imports import parse

    return {
        dotted(path.relative_to(LIBRARY).as_posix()): parse(path)
        for path in sorted(LIBRARY.rglob("*.py"))
    }


def staying(sources: Mapping[str, ast.Module]) -> frozenset[str]:
    """The modules of {name: tree} that stay once they are loaded: what gate.ondemand does not let
    go of, LATER, and what those import as they are loaded. What is named in a call of
    ondemand.forget does not stay (gate.compose), but what it imports does.
    """
    from tidegate.image.imports import constant

    covered = constant(sources["gate.ondemand"], "_ON_DEMAND").split()
    once = {name for tree in sources.values() for name in _let_go_of(tree)}
    waiting = [name for name in sources if not any(_covers(entry, name) for entry in covered)]
    waiting += LATER
    found = set(waiting)
    while waiting:
        for name in _imports(sources[waiting.pop()].body):
            if name in sources and name not in found:
                found.add(name)
                waiting.append(name)
    return frozenset(found - once)


def _covers(entry: str, name: str) -> bool:
    """As firmware/lib/gate/ondemand.py reads its list."""
    return name.startswith(entry) if entry.endswith(".") else f"{name}.".startswith(f"{entry}.")


def _let_go_of(tree: ast.Module) -> Iterator[str]:
    """The modules that are named where this one calls ondemand.forget."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ondemand.forget":
            yield ast.literal_eval(node.args[0])


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    """What these statements import as they are run; not what functions in them import later."""
    from tidegate.image.imports import named

    for node in body:
        yield from named(node)
        if isinstance(node, ast.If | ast.Try):
            yield from _imports([*node.body, *node.orelse])


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    write(*map(Path, sys.argv[1:]))
