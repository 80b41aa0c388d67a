"""The keys of board.toml as one table, and their check: an error names file, key and remedy.

docs/adding-a-board.md shows the same table to people; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate import names
from tidegate.errors import TidegateError

# What mpy-cross compiles for, and what a microcontroller's MicroPython reports; "" for bytecode only.
# fmt: off
ARCHITECTURES = (  # in the order in which MicroPython numbers them, from 1
    "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp",
    "xtensa", "xtensawin", "rv32imc", "rv64imc",
)
# fmt: on
_MODULE = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_VERSION = re.compile(r"1\.[0-9]{1,3}\Z")
_ROOT = re.compile(r"/([a-z0-9]{1,16})?\Z")
_MOST_TEXT = 200
_REMEDY = "docs/adding-a-board.md says what a board.toml holds"


class BoardFileError(TidegateError):
    """A board.toml that cannot be used."""


@dataclass(frozen=True)
class Key:
    """One key: its type, whether it must be there, and its bounds. text: what it must be, in words."""

    kind: type
    text: str
    required: bool = False
    least: int = 0
    most: int = 1 << 31
    step: int = 1
    choices: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None


_SIZE = Key(int, "bytes", least=1)
_BLOCKS = Key(int, "bytes, a multiple of block_size", least=0)

# Tables and their keys; "" is the top. Any table but [slots] and [flash] may be missing.
SCHEMA: dict[str, dict[str, Key]] = {
    "": {
        "name": Key(str, "the folder's name", True, pattern=re.compile(names.BOARD.pattern)),
        "title": Key(str, "for people", True),
        "mcu": Key(str, "processor and what else matters", True),
        "arch": Key(str, "what mpy-cross compiles for, or empty for bytecode only", True, choices=("", *ARCHITECTURES)),
        "native": Key(bool, "whether images carry the native modules of firmware/native"),
        "ram": Key(int, "bytes of RAM, all together", least=1),
        "modules": Key(list, "modules of boards/common that board.py imports from boot"),
        "tried": Key(str, "on what this folder was tried", True, choices=("emulator", "machine", "no")),
        "status": Key(str, "what it is good for, in a sentence", True),
    },
    "slots": {
        "kind": Key(str, "where images are stored", True, choices=("rom", "file")),
        "segment": Key(int, "number of the ROM segment", most=7),
        "segment_size": _SIZE,
        "block_size": Key(int, "bytes of the smallest erase", least=256, most=1 << 20),
        "loader_size": _BLOCKS,
    },
    "flash": {
        "machine": Key(str, "part of sys.implementation._machine on the board", True),
        "root": Key(str, "where MicroPython mounts the file system", pattern=_ROOT),
        "micropython": Key(str, "the oldest version that images run on, as 1.25", pattern=_VERSION),
        "watchdog_ms": Key(
            int, "longest timeout of its watchdog, fed while flashing; 0: none that needs it", most=200000
        ),
    },
    "network": {
        "kind": Key(str, "how it comes into the network", True, choices=("lan", "wlan", "wiznet5k", "system")),
    },
    "firmware": {
        "file": Key(str, "the built MicroPython", True),
        "build": Key(str, "the command that builds it", True),
    },
    "emulator": {
        "program": Key(str, "what emulates it", True),
        "storage_size": Key(int, "bytes of its storage file", True, least=1),
        "sector": Key(int, "bytes", True, least=1),
        "seed_offset": Key(int, "where the seed is", True),
        "wear_offset": Key(int, "where erases are counted", True),
        "m3": Key(dict, "its Cortex-M3"),
        "m4": Key(dict, "its Cortex-M4"),
    },
}
_CPU = {
    "machine": Key(str, "the emulator's name for it", True),
    "firmware": Key(str, "the built MicroPython", True),
    "build": Key(str, "the command that builds it", True),
}
_REQUIRED = ("slots", "flash")
_ROM_KEYS = ("segment", "segment_size", "block_size")


def check(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse settings that are not a board's; `path` is the file they are from."""
    for name, value in settings.items():
        if name not in SCHEMA[""] and name not in SCHEMA:
            raise _wrong(path, name, "is unknown")
        if name in SCHEMA and not isinstance(value, dict):
            raise _wrong(path, name, f"must be a table, [{name}]")
    for name in _REQUIRED:
        if name not in settings:
            raise _wrong(path, f"[{name}]", "is missing")
    for table, keys in SCHEMA.items():
        values = (
            {key: value for key, value in settings.items() if key not in SCHEMA} if not table else settings.get(table)
        )
        if values is not None:
            _check_table(path, table, keys, values)
    for cpu in ("m3", "m4"):
        values = settings.get("emulator", {}).get(cpu)
        if values is not None:
            _check_table(path, f"emulator.{cpu}", _CPU, values)
    _check_slots(path, settings["slots"])


def _check_table(path: Path, table: str, keys: Mapping[str, Key], values: Mapping[str, Any]) -> None:
    def named(key: str) -> str:
        return f"{table}.{key}" if table else key

    for name in values:
        if name not in keys:
            raise _wrong(path, named(name), "is unknown")
    for name, key in keys.items():
        if name in values:
            _check_value(path, named(name), key, values[name])
        elif key.required:
            raise _wrong(path, named(name), f"is missing: {key.text}")


def _check_value(path: Path, name: str, key: Key, value: Any) -> None:
    if type(value) is not key.kind:  # isinstance would take a bool for an int
        kinds = {str: "a text", int: "a whole number", bool: "true or false", list: "a list of texts", dict: "a table"}
        raise _wrong(path, name, f"must be {kinds[key.kind]}: {key.text}")
    if isinstance(value, str):
        if len(value) > _MOST_TEXT:
            raise _wrong(path, name, f"has more than {_MOST_TEXT} characters")
        if key.choices and value not in key.choices:
            raise _wrong(path, name, f"is {value!r}; it may be {', '.join(repr(choice) for choice in key.choices)}")
        if (key.pattern and not key.pattern.fullmatch(value)) or (key.required and not value and not key.choices):
            raise _wrong(path, name, f"is {value!r}; it must be {key.text}")
    elif isinstance(value, int) and not key.least <= value <= key.most:
        raise _wrong(path, name, f"is {value}; it may be {key.least} to {key.most}: {key.text}")
    elif isinstance(value, list) and not all(isinstance(entry, str) and _MODULE.match(entry) for entry in value):
        raise _wrong(path, name, f"must be a list of module names: {key.text}")


def _check_slots(path: Path, slots: Mapping[str, Any]) -> None:
    if slots["kind"] == "rom":
        for name in _ROM_KEYS:
            if name not in slots:
                raise _wrong(path, f"slots.{name}", 'is missing, and kind is "rom"')
    block = slots.get("block_size")
    for name in ("segment_size", "loader_size"):
        if name in slots and (block is None or slots[name] % block):
            raise _wrong(path, f"slots.{name}", f"is {slots[name]}; it must be a multiple of block_size")
    if "segment_size" in slots and slots["segment_size"] < slots.get("loader_size", 0) + 4 * slots["block_size"]:
        raise _wrong(path, "slots.segment_size", "leaves no room for two slots beside boot record and loader")


def _wrong(path: Path, key: str, what: str) -> BoardFileError:
    return BoardFileError(f"{path}: {key} {what}", _REMEDY)
