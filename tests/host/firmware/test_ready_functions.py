"""Which functions a firmware that holds the agent has ready in flash (boards/frozen/functions.py)."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tidegate.image.imports import constant

ROOT = Path(__file__).resolve().parents[3]
_SPEC = importlib.util.spec_from_file_location("functions", ROOT / "boards" / "frozen" / "functions.py")
assert _SPEC and _SPEC.loader
functions = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(functions)

# As MicroPython's mpy-tool.py writes it, without what is not read.
MODULES = """
// frozen module tidegate_gate_tasks
// - original source file: /build/gate/tasks.mpy
// - frozen file name: tidegate/gate/tasks.py
// - .mpy header: 4d:06:00:1f

static const byte fun_data_tidegate_gate_tasks__lt_module_gt_[65] = {
    0x18,0x0e, // prelude
};
static const byte fun_data_tidegate_gate_tasks_run[9] = {
    0xb9,0x40,0x12, // prelude
};
static const mp_raw_code_t *const children_tidegate_gate_tasks__lt_module_gt_[] = {
};
// frozen module tidegate_cose
// - original source file: /build/cose.mpy
// - frozen file name: tidegate/cose.py

static const byte fun_data_tidegate_cose__lt_module_gt_[65] = {
    0x18,0x0e, // prelude
};
// frozen module asyncio_core
// - original source file: /build/asyncio/core.mpy
// - frozen file name: asyncio/core.py

static const byte fun_data_asyncio_core__lt_module_gt_[65] = {
    0x18,0x0e, // prelude
};
"""


@pytest.fixture(scope="module")
def staying() -> frozenset[str]:
    return functions.staying(functions.sources())


def test_what_stays_is_ready(staying: frozenset[str]) -> None:
    assert {"gate.agent", "gate.tasks", "gate.update.offers", "gate.trust.intake", "mqtt.session", "cbor"} <= staying


def test_what_is_let_go_of_is_not(staying: frozenset[str]) -> None:
    """Its variables would stay in the board's memory."""
    for gone in ("gate.compose", "gate.update.install", "gate.commands.executor", "coap", "cose", "bspatch"):
        assert gone in functions.sources() and gone not in staying


def test_the_list_is_read_as_the_board_reads_it() -> None:
    """The board's own function, taken out of its module, which needs MicroPython's names around it."""
    tree = functions.sources()["gate.ondemand"]
    (node,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_covers"]
    own: dict[str, Any] = {}
    exec(compile(ast.Module([node], []), "ondemand", "exec"), own)
    for entry in (*constant(tree, "_ON_DEMAND").split(), "gate.trus", "coap."):
        for name in (*functions.sources(), "gate.trustworthy", "coaps", "cose"):
            assert functions._covers(entry, name) == own["_covers"](entry, name), (entry, name)


def test_modules_that_are_imported_later_exist() -> None:
    assert set(functions.LATER) <= set(functions.sources())


def test_the_file_for_the_compiler(tmp_path: Path) -> None:
    modules, content = tmp_path / "modules.c", tmp_path / "content.c"
    modules.write_text(MODULES)
    functions.write(modules, content)
    written = content.read_text()
    assert written.startswith('#include "modules.c"\n') and "functions_contexts[2];" in written
    own = "children_tidegate_gate_tasks__lt_module_gt_, fun_data_tidegate_gate_tasks__lt_module_gt_}"
    assert "{{&mp_type_fun_bc}, &functions_contexts[0], " + own in written
    assert "{{&mp_type_gen_wrap}, &functions_contexts[0], NULL, fun_data_tidegate_gate_tasks_run}" in written
    assert "{&frozen_module_asyncio_core, functions_asyncio_core," in written
    assert "cose" not in written


@pytest.mark.parametrize(
    ("prelude", "generator"),
    [("0x18,0x0e", False), ("0xb9,0x40,0x12", True), ("0xb0,0x14,0x1e", False), ("0xb0,0x80,0x40,0x10", False)],
)
def test_generators_are_told_by_their_bytecode(prelude: str, generator: bool) -> None:
    """Bit 6 of the second byte is the first flag; of the third, the second one."""
    assert functions.is_generator(prelude) == generator
