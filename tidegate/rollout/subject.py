"""What a rollout brings to devices: a release, the content of a data component, or a trust store.

People name it in one word: 1.4.0, maps@7 (the version 7 of the component maps), trust@4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tidegate.errors import TidegateError
from tidegate.names import COMPONENT, VERSION

TRUST = "trust"  # a component of this name cannot be rolled out in waves
_REMEDY = "Write 1.4.0 for a release, maps@7 for a data component, trust@4 for a trust store"
_TRUST_VERSION = re.compile(r"[1-9][0-9]{0,8}\Z")


@dataclass(frozen=True)
class Subject:
    """`component` names the data component; "" otherwise."""

    kind: Literal["release", "data", "trust"]
    version: str
    component: str = ""

    def __str__(self) -> str:
        if self.kind == "release":
            return self.version
        return f"{self.component or TRUST}@{self.version}"


def parse(text: str) -> Subject:
    """Raises TidegateError."""
    name, at, version = text.partition("@")
    if not at:
        return Subject("release", VERSION.check(text, _REMEDY))
    if name == TRUST:
        if not _TRUST_VERSION.match(version):
            raise TidegateError(f"{version!r:.40} is not the version of a trust store", _REMEDY)
        return Subject("trust", version)
    COMPONENT.check(name, _REMEDY)
    return Subject("data", VERSION.check(version, _REMEDY), name)
