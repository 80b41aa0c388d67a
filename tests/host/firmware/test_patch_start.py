"""The states that codec 1 begins with are the same on the device and on the host."""

from __future__ import annotations

import ast

from projects import ROOT

from tidegate.delta.adaptive import start_states


def test_the_device_begins_as_the_host_does() -> None:
    [assigned] = [
        node
        for node in ast.parse((ROOT / "firmware/lib/bspatch/start.py").read_text()).body
        if isinstance(node, ast.Assign)
    ]
    wanted = b"".join(state.to_bytes(2, "little") for state in start_states())
    assert ast.literal_eval(assigned.value) == wanted
