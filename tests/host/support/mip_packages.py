"""The packages of firmware/packages, resolved and installed as mip does, from this checkout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

PACKAGES = Path(__file__).resolve().parents[3] / "firmware/packages"
ADDRESS = "github:tidegate/tidegate/firmware/packages/"


def names() -> list[str]:
    return sorted(path.parent.name for path in PACKAGES.glob("*/package.json"))


def described(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PACKAGES / name / "package.json").read_text())
    return found


def dependencies(name: str) -> list[str]:
    """The packages that it names itself."""
    found = []
    for address, version in described(name)["deps"]:
        assert address.startswith(ADDRESS) and version == "main", f"{name} depends on {address} {version}"
        found.append(address.removeprefix(ADDRESS))
    return found


def files(name: str) -> dict[str, Path]:
    """{path on the board: source} of a package and all that it depends on."""
    found = {path: (PACKAGES / name / url).resolve() for path, url in described(name)["urls"]}
    for other in dependencies(name):
        found.update(files(other))
    return found


def install(name: str, folder: Path) -> None:
    for path, source in files(name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / path)
