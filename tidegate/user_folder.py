"""What the tools remember of a person's choices: small JSON files in that person's own configuration folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tidegate.errors import TidegateError
from tidegate.files import write_atomic

NAME = "tidegate"


def path(name: str) -> Path:
    """Where the file `name` is: in $XDG_CONFIG_HOME/tidegate, else in ~/.config/tidegate."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path("~/.config").expanduser()) / NAME / name


def write(name: str, value: Any) -> None:
    """Replace the file `name`, which only its owner may read."""
    file = path(name)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TidegateError(
            f"the folder {file.parent} cannot be made: {error.strerror}", "Name another one in XDG_CONFIG_HOME"
        ) from error
    write_atomic(file, json.dumps(value, indent=2).encode() + b"\n", mode=0o600)
