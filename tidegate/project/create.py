"""Writes a new project: a folder that builds, tests and runs as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tidegate
from tidegate import boards, library, names
from tidegate.errors import TidegateError
from tidegate.files import new_folder, write_atomic
from tidegate.project import types
from tidegate.project.file import FILE, Project, load

TEMPLATES = Path(__file__).with_name("templates")
# Where each template goes. Names without their dot: a dot file would not be packed into the wheel.
FILES = {
    "tidegate.toml": FILE,
    "app.py.in": "app/__init__.py",
    "test_app.py.in": "tests/test_app.py",
    "gitignore": ".gitignore",
    "README.md": "README.md",
    "workflow.yml": ".github/workflows/gateway.yml",
    "mypy.ini": "mypy.ini",
}
MYPY = "2.4.1"  # of the workflow: the one that our own tests ran on a new project when this was written


@dataclass(frozen=True)
class Answers:
    """What a new project is asked. Raises TidegateError, with a remedy, for what cannot be."""

    product: str
    vendor: str
    boards: tuple[str, ...]

    def __post_init__(self) -> None:
        names.PRODUCT.check(self.product)
        names.VENDOR.check(self.vendor)
        if not self.boards:
            raise TidegateError("a project needs a board", f"Boards: {', '.join(known_boards())}")
        for board in self.boards:
            boards.load(library.folder(), board)


def known_boards() -> list[str]:
    return boards.names(library.folder())


def check_new(folder: Path) -> None:
    """Refuse a folder that is there already."""
    if folder.exists() or folder.is_symlink():
        raise TidegateError(f"{folder} exists; a new project never goes into an existing folder", "Choose another name")


def create(folder: Path, answers: Answers) -> Project:
    """The new project in `folder`, which appears whole or not at all."""
    check_new(folder)
    inner = sorted({str(Path(name).parent) for name in FILES.values()} - {"."}, key=len)
    with new_folder(folder) as scratch:
        for name in inner:
            (scratch / name).mkdir(parents=True, exist_ok=True)
        for template, name in FILES.items():
            write_atomic(scratch / name, _filled((TEMPLATES / template).read_text(), answers).encode())
        types.put(scratch)
    return load(folder)


def default_product(folder: Path) -> str:
    """The folder's name, as far as it may be a product's; "" where it may not."""
    name = folder.name.lower().replace(" ", "-")
    return name if names.PRODUCT.fits(name) else ""


def _filled(text: str, answers: Answers) -> str:
    values: dict[str, Sequence[str] | str] = {
        "@PRODUCT@": answers.product,
        "@VENDOR@": answers.vendor,
        "@BOARDS@": ", ".join(f'"{name}"' for name in answers.boards),
        "@TIDEGATE@": tidegate.__version__,
        "@MYPY@": MYPY,
    }
    for mark, value in values.items():
        text = text.replace(mark, str(value))
    return text
