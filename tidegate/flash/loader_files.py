"""What belongs on a board beside its image: the loader, its libraries where it verifies signatures, and settings."""

from __future__ import annotations

import ast
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tidegate import enrolment, json_text
from tidegate.boards import Board, board_settings
from tidegate.errors import TidegateError
from tidegate.files import read_limited
from tidegate.image import compile_module
from tidegate.image.build import in_place_modules, native_files, native_place, without_const
from tidegate.trust import certificates
from tidegate.trust import store as trust_store

MAX_JSON = 4096  # bytes; what the board reads (firmware/lib/gate/settings/config.py)
_MAX_DIGITS = 100  # of a setting; board_settings names one that is too large
OPTIONS = "/tg/boot.json"  # the loader's options: firmware/boot/options.py
AUTHORITIES = "/tg/ca.der"  # the authorities that TLS trusts: firmware/lib/gate/link/tls.py
TIME = "/tg/time"  # seconds since 1970, a lower bound for the time: the same
NETWORK = "/tg/network.json"  # the wireless LAN: part of config.json on the host, a file of its own on the board
CLAIM = "/tg/claim"  # what an unenrolled board enrols with
MAIN = "/main.py"
BOOT = "/boot"
STAGE = "/boot.stage"  # where a loader in files arrives
NEXT = "/boot.next"  # STAGE, renamed when it is whole: firmware/main.py replaces /boot by it
LIBRARY = "/boot/lib"  # where the loader finds what verifies signatures: firmware/boot/signature.py
KINDS = ("rom", "file")
VERIFY = ("digest", "signature")
# What machine code that is executed in place makes unnecessary in the loader's library.
_TWINS = {"lib/ed25519/in_place.py": ("ed25519/pure.py",)}


def settings(
    trust_file: Path | None,
    config: Path | None,
    credentials: Path | None,
    ca: Path | None = None,
    client: tuple[Path, Path] | None = None,
    claim: Path | None = None,
) -> dict[str, bytes]:
    """The files under /tg by path, checked. client: certificate and key; claim: what the board enrols with."""
    files: dict[str, bytes] = {}
    if ca:
        files[AUTHORITIES] = certificates.authorities_der(ca)
    if client:
        device = read_object(config, "config").get("device") if config else None
        files["/tg/client.der"], files["/tg/client-key.der"] = certificates.client_der(*client, device)
    if trust_file:
        data = read_limited(trust_file, trust_store.MAX_SIZE, "trust store")
        try:
            trust_store.decode(data)
        except TidegateError as error:
            raise TidegateError(f"{trust_file} is not a trust store: {error.message}", error.remedy) from error
        files["/tg/trust.cbor"] = data
    for name, source in (("config", config), ("credentials", credentials)):
        if source:
            files[f"/tg/{name}.json"] = _json(source, name)
    if config:
        board_settings.check(config, json.loads(files["/tg/config.json"]))
        files.update(_split_network(config, json.loads(files["/tg/config.json"])))
    if claim:
        files[CLAIM] = _claim(claim, files.get("/tg/trust.cbor")).encode()
    return files


def wants_tls(config: bytes) -> bool:
    """Whether a board with these settings uses TLS, and so needs an authority to trust."""
    found = json.loads(config)
    mqtt = found.get("mqtt")
    return str(found.get("payloads")).startswith("https:") or (isinstance(mqtt, dict) and mqtt.get("tls") is True)


def loader(root: Path, board: Board, signature: bool) -> dict[str, bytes]:
    """The loader's files by path, compiled, in the order of writing: /main.py last, so that it finds its loader.

    signature: with the libraries that verify signatures.
    """
    sources = {f"boot/{path.name}": path for path in sorted((root / "firmware" / "boot").glob("*.py"))}
    sources["boot/board.py"] = board.folder / "board.py"
    for name in board.modules:
        sources[f"boot/{name}.py"] = root / "boards" / "common" / f"{name}.py"
    code: dict[str, bytes] = {}
    if signature:
        for name, path in library(root, board).items():
            sources[f"{LIBRARY[1:]}/{name}"] = path
        code = {f"{LIBRARY}/{name}": path.read_bytes() for name, path in _machine_code(root, board).items()}
    with tempfile.TemporaryDirectory(prefix="tidegate-") as scratch:
        files = {  # nobody sees a traceback from the library
            f"/{name[:-3]}.mpy": compile_module(
                path, name, board, Path(scratch), lines=not name.startswith(LIBRARY[1:])
            )
            for name, path in sources.items()
        }
    files.update(code)
    main = board.folder / "main.py"
    files[MAIN] = (main if main.exists() else root / "firmware" / "main.py").read_bytes()
    return files


def library(root: Path, board: Board) -> dict[str, Path]:
    """The modules of firmware/lib that firmware/boot/signature.py needs, by their path there. Machine code that is
    executed in place is there in place of its twins in Python: it cannot lack memory.
    """
    lib = root / "firmware" / "lib"
    in_place = dict(in_place_modules(root, _in_place(root, board)))
    twins = {lib / twin for name in in_place for twin in _TWINS[name]}
    found: set[Path] = set()
    waiting = [root / "firmware" / "boot" / "signature.py"]
    while waiting:
        compiled = without_const(waiting.pop().read_text())  # as it will be on the board
        for path in _modules(lib, _imported(ast.parse(compiled))):
            if path not in found and path not in twins:
                found.add(path)
                waiting.append(path)
    modules = {path.relative_to(lib).as_posix(): path for path in sorted(found)}
    return modules | {name.removeprefix("lib/"): path for name, path in in_place.items()}


def _in_place(root: Path, board: Board) -> list[Path]:
    """The machine code of the loader's library; it is executed in place where the loader is."""
    return [path for path in native_files(root, board) if path.suffix == ".bin"] if board.loader else []


def _machine_code(root: Path, board: Board) -> dict[str, Path]:
    return {native_place(path).removeprefix("lib/"): path for path in _in_place(root, board)}


def _modules(lib: Path, names: Iterable[str]) -> Iterator[Path]:
    """The files of dotted module names, with the __init__.py of packages; what is not in `lib` is MicroPython's own."""
    for name in names:
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            module = lib.joinpath(*parts[:length])
            for path in (module.with_suffix(".py"), module / "__init__.py"):
                if path.is_file() and not path.name.endswith("_cpython.py"):
                    yield path


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def choose_options(before: dict[str, Any], slots: str | None, verify: str | None, board: Board) -> dict[str, str]:
    """The loader's options: as requested, else as `before`, else the board's default."""
    default = str(board.settings.get("slots", {}).get("kind", KINDS[0]))
    return {
        "slots": slots or _one_of(before.get("slots"), KINDS) or default,
        "verify": verify or _one_of(before.get("verify"), VERIFY) or VERIFY[0],
    }


def encode(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _one_of(value: Any, known: tuple[str, ...]) -> str | None:
    return value if value in known else None


def _split_network(path: Path, config: dict[str, Any]) -> dict[str, bytes]:
    """Move the wireless LAN's password out of config.json, which commands may show (fs.cat of /tg/config.json)."""
    network = config.pop("network", None)
    if network is None:
        return {}
    keys = {"ssid": (1, 32), "password": (8, 63), "country": (2, 2)}
    if not isinstance(network, dict) or not network.keys() <= keys.keys():
        raise TidegateError(f"{path}: network must be an object of ssid, password and country", "Correct it")
    for key, (least, most) in keys.items():
        value = network.get(key)
        if key in network and not (isinstance(value, str) and least <= len(value.encode()) <= most):
            raise TidegateError(f"{path}: network.{key} must be a text of {least} to {most} bytes", "Correct it")
    if network and "ssid" not in network:
        raise TidegateError(f"{path}: network.ssid is missing", "Name the wireless LAN, or leave network empty")
    return {NETWORK: encode(network), "/tg/config.json": encode(config)}


def _claim(path: Path, store: bytes | None) -> str:
    text = read_limited(path, enrolment.MAX_FILE, "claim").decode(errors="replace")
    try:
        claim = enrolment.parse(text)
    except TidegateError as error:
        raise TidegateError(f"{path}: {error.message}", error.remedy) from error
    if store is not None and claim.trust != enrolment.trust_fingerprint(store):
        raise TidegateError(f"{path} is a claim for another trust store", "Make it with --trust of the same file")
    return claim.text


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file that goes onto a board: the only reader of them here, so that what is checked is what
    the board gets."""
    try:
        value = json_text.loads(read_limited(path, MAX_JSON, what), max_digits=_MAX_DIGITS)
    except json_text.NotJson as error:
        raise TidegateError(f"{path} {error}", "Correct it; save it as UTF-8 without a mark") from error
    if not isinstance(value, dict):
        raise TidegateError(f"{path} is not a JSON object", "Correct it")
    return value


def _json(path: Path, what: str) -> bytes:
    return encode(read_object(path, what))
