"""The states that codec 1 begins with are the same on the device and on the host."""

from __future__ import annotations

import ast

from workshop import ROOT

from tidegate.delta.start import START_STATES


def test_the_device_begins_as_the_host_does() -> None:
    [assigned] = [
        node
        for node in ast.parse((ROOT / "firmware/lib/bspatch_start.py").read_text()).body
        if isinstance(node, ast.Assign)
    ]
    assert ast.literal_eval(assigned.value) == START_STATES
