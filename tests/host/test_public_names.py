"""What the packages of tidegate/ hand out: every name is there, and none hides a module of the package."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import tidegate

PACKAGES = [found.name for found in pkgutil.iter_modules(tidegate.__path__, "tidegate.") if found.ispkg]


def modules(package: ModuleType) -> set[str]:
    return {found.name for found in pkgutil.iter_modules(package.__path__)}


@pytest.mark.parametrize("name", PACKAGES)
def test_names_are_there_and_hide_no_module(name: str) -> None:
    package = importlib.import_module(name)
    handed_out = getattr(package, "__all__", ())
    assert all(hasattr(package, each) for each in handed_out)
    assert not set(handed_out) & modules(package), "a module that a name hides cannot be imported from the package"


def test_packages_say_what_they_hand_out() -> None:
    declared = {name for name in PACKAGES if hasattr(importlib.import_module(name), "__all__")}
    assert declared >= {
        f"tidegate.{name}" for name in ("boards", "commands", "delta", "fleet", "image", "manifest", "release")
    }
