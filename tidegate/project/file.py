"""tidegate.toml: what a project is, checked. An error names file, line, key and remedy."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tidegate import libraries, library, names
from tidegate.boards import board_settings
from tidegate.errors import TidegateError
from tidegate.files import read_limited
from tidegate.image import features, imports
from tidegate.libraries import LOCK, Requirement
from tidegate.libraries.requirement import has_tls
from tidegate.sources import IMAGE_KEYS, LIBRARY_KEYS, Sources, image_keys, library_keys
from tidegate.toml_tables import Key, check_table, like, line_of

FILE = "tidegate.toml"
MAX_FILE = 64 * 1024
_REMEDY = "`tidegate docs project` lists the keys of tidegate.toml"
_FOLDER = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[\w./-]{1,100}")

# Tables and their keys. [settings] is what config.json may hold: judged by the board's own rules.
SCHEMA: dict[str, dict[str, Key]] = {
    "product": {
        "name": Key(str, names.PRODUCT.rule, True, pattern=re.compile(names.PRODUCT.pattern)),
        "vendor": Key(str, names.VENDOR.rule, True, pattern=re.compile(names.VENDOR.pattern)),
        "boards": Key(list, "names of boards", True, pattern=re.compile(names.BOARD.pattern)),
        "version": Key(str, names.VERSION.rule, pattern=re.compile(names.VERSION.pattern)),
    },
    "image": {"app": Key(str, "a folder of the project, with an __init__.py", pattern=_FOLDER), **IMAGE_KEYS},
    "libraries": LIBRARY_KEYS,
    "server": {
        "url": Key(str, "the server's address, http:// or https://", pattern=re.compile(r"https?://\S{1,190}")),
        "channel": Key(str, names.CHANNEL.rule, pattern=re.compile(names.CHANNEL.pattern)),
    },
    "keys": {
        "release": Key(str, "the file of the key that signs releases"),
        "trust": Key(str, "the trust store of the boards"),
    },
}
_DECORATORS = {"measurement", "command", "setting", "data_component", "health", "ready"}
_FREE = ("settings",)
_REQUIRED = ("product",)


class ProjectFileError(TidegateError):
    """A tidegate.toml that cannot be used."""


@dataclass(frozen=True)
class Project:
    """A project in `folder`; `version` is None where git says it. `settings`: of every device's config.json."""

    folder: Path
    product: str
    vendor: str
    boards: tuple[str, ...]
    version: str | None = None
    app: str = "app"
    image: dict[str, Any] = field(default_factory=dict)  # the table [image]
    libraries: dict[str, Any] = field(default_factory=dict)  # the table [libraries]
    settings: dict[str, Any] = field(default_factory=dict)
    server: str | None = None
    channel: str | None = None
    release_key: Path | None = None
    trust: Path | None = None

    @property
    def sources(self) -> Sources:
        """What its images are built from."""
        return Sources(
            self.folder,
            library.folder(),
            self.folder / self.app,
            self.folder / "boards",
            (FILE, LOCK, self.app, "boards", *libraries.local_folders(self.libraries.get("requires", ()))),
            cache=self.work / "libraries",
            **image_keys(self.image, self.folder),
            **library_keys(self.libraries),
        )

    @property
    def work(self) -> Path:
        """Where the tools put what can be made again; .gitignore leaves it out."""
        return self.folder / ".tidegate"


def load(folder: Path) -> Project:
    """The project in `folder`; TidegateError where its tidegate.toml is wrong, or names what is not there."""
    path = folder / FILE
    text = read_limited(path, MAX_FILE, "project file").decode(errors="replace")
    values = _parse(path, text)
    wrong = partial(_wrong, path, text)
    for name, value in values.items():
        if name not in SCHEMA and name not in _FREE:
            raise wrong(name, f"is unknown{like(name, {*SCHEMA, *_FREE})}")
        if not isinstance(value, dict):
            raise wrong(name, f"must be a table, [{name}]")
    for name in _REQUIRED:
        if name not in values:
            raise wrong(name, f"is missing: a table [{name}]")
    for table, keys in SCHEMA.items():
        check_table(table, keys, values.get(table, {}), wrong)
    product, image = values["product"], values.get("image", {})
    if not product["boards"]:
        raise wrong("product.boards", "names no board")
    _check_features(path, text, image.get("features", ()))
    _check_settings(path, text, values.get("settings", {}))
    server, keys_ = values.get("server", {}), values.get("keys", {})
    project = Project(
        folder=folder,
        product=product["name"],
        vendor=product["vendor"],
        boards=tuple(dict.fromkeys(product["boards"])),
        version=product.get("version"),
        app=image.get("app", "app").rstrip("/"),
        image=image,
        libraries=values.get("libraries", {}),
        settings=values.get("settings", {}),
        server=server.get("url"),
        channel=server.get("channel"),
        release_key=_path(folder, keys_.get("release")),
        trust=_path(folder, keys_.get("trust")),
    )
    _check_libraries(project, wrong)
    _check_boards(project, wrong)
    _check_app(project, wrong)
    return project


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        place = re.search(r"line (\d+)", str(error))
        where = f"{path}:{place[1]}" if place else str(path)
        raise ProjectFileError(f"{where}: {error}", "Correct it; https://toml.io shows the form") from error


def _check_settings(path: Path, text: str, settings: dict[str, Any]) -> None:
    try:
        board_settings.check(path, settings)
    except board_settings.SettingError as error:
        key = f"settings.{error.key}"
        raise ProjectFileError(f"{_at(path, text, key)}: {key} {error.what}", error.remedy) from error


def _check_boards(project: Project, wrong: partial[ProjectFileError]) -> None:
    known = project.sources.board_names()
    for name in project.boards:
        if name not in known:
            raise wrong("product.boards", f"names {name}, and there is no such board; there are {', '.join(known)}")


def _check_app(project: Project, wrong: partial[ProjectFileError]) -> None:
    if not (project.folder / project.app / "__init__.py").is_file():
        raise wrong("image.app", f"is {project.app!r}, and there is no {project.app}/__init__.py")
    try:
        tree = ast.parse((project.folder / project.app / "__init__.py").read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return  # building names the error, with its line
    if not _starts(tree) and not imports.names_used(sorted((project.folder / project.app).rglob("*.py"))) & _DECORATORS:
        raise ProjectFileError(
            f"{project.app}/__init__.py starts nothing",
            "Decorate a function with gate.measurement, gate.command or another of gate's, or define start(boot)",
        )


def _starts(tree: ast.Module) -> bool:
    """Whether a module has a name `start`, as far as can be seen without running it."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == "start":
            return True
        if isinstance(node, ast.ImportFrom) and any(
            (each.asname or each.name) in ("start", "*") for each in node.names
        ):
            return True
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "start":
            return True
    return False


def _check_libraries(project: Project, wrong: partial[ProjectFileError]) -> None:
    index = project.libraries.get("index")
    if index and not has_tls(index):
        raise wrong("libraries.index", f"is {index}, which has no TLS")
    names: dict[str, str] = {}
    for text in project.libraries.get("requires", ()):
        try:
            one = Requirement.read(text)
        except ValueError as error:
            raise wrong("libraries.requires", str(error)) from error
        if names.setdefault(one.name, text) != text:
            raise wrong("libraries.requires", f"has {names[one.name]} and {text}")
        if one.kind == "folder" and not (project.folder / one.package).is_dir():
            raise wrong("libraries.requires", f"names {text}, and there is no such folder")


def _path(folder: Path, name: str | None) -> Path | None:
    return folder / Path(name).expanduser() if name else None


def _wrong(path: Path, text: str, key: str, what: str) -> ProjectFileError:
    return ProjectFileError(f"{_at(path, text, key)}: {key} {what}", _REMEDY)


def _check_features(path: Path, text: str, named: Collection[str]) -> None:
    try:
        features.check(named)
    except TidegateError as error:
        raise ProjectFileError(f"{_at(path, text, 'image.features')}: {error.message}", error.remedy) from error


def _at(path: Path, text: str, key: str) -> str:
    """The file, and the line of the key where there is one."""
    line = line_of(text, key)
    return f"{path}:{line}" if line else str(path)
