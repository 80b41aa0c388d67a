"""What the host's tests share: where things are, the vectors, and an application to build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "tests" / "vectors"

APP = """
import cbor


def start(boot):
    return cbor.dumps({{1: {text!r}}})
"""


def vectors(name: str) -> Any:
    """The content of one vector file."""
    return json.loads((VECTORS / name).read_text())


def write_app(project: Path, text: str) -> None:
    """Give the project an application that differs by `text`."""
    (project / "firmware" / "app" / "__init__.py").write_text(APP.format(text=text))
