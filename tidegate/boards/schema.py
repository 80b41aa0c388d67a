"""The keys of board.toml as one table, and their check: an error names file, key and remedy.

docs/adding-a-board.md shows the same table to people; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tidegate import names
from tidegate.errors import TidegateError
from tidegate.toml_tables import Key, check_table

# What mpy-cross compiles for, and what a microcontroller's MicroPython reports; "" for bytecode only.
# fmt: off
ARCHITECTURES = (  # in the order in which MicroPython numbers them, from 1
    "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp",
    "xtensa", "xtensawin", "rv32imc", "rv64imc",
)
# fmt: on
CPUS = {"m3": "Cortex-M3", "m4": "Cortex-M4", "m7": "Cortex-M7"}  # of an emulated board
_MODULE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_VERSION = re.compile(r"1\.[0-9]{1,3}\Z")
_ROOT = re.compile(r"/([a-z0-9]{1,16})?\Z")
_REMEDY = "`tidegate docs adding-a-board` says what a board.toml holds"


class BoardFileError(TidegateError):
    """A board.toml that cannot be used."""


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
        "in_place": Key(bool, "whether machine code runs where the image is mapped; its core has no data cache"),
        "ram": Key(int, "bytes of RAM, all together", least=1),
        "modules": Key(list, "modules of boards/common that board.py imports from boot", pattern=_MODULE),
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
    "micropython": {  # of the build that people download, or of ours where it is ours
        "tried": Key(list, "versions that were run with it", pattern=_VERSION),
        "read": Key(list, "versions whose sources were read", pattern=_VERSION),
        "vfs_rom": Key(str, "the oldest version with vfs.VfsRom; missing where none has it", pattern=_VERSION),
        "rom_segment": Key(int, "bytes of its ROM segment, 0 for none", True),
        "rom_slots": Key(
            str, "the oldest version whose segment takes slots; missing where none does", pattern=_VERSION
        ),
        "heap_left": Key(int, "bytes of heap left beside an application at rest; missing where nobody measured it"),
    },
    "network": {
        "kind": Key(str, "how it comes into the network", True, choices=("lan", "wlan", "wiznet5k", "system", "none")),
    },
    "firmware": {
        "file": Key(str, "the built MicroPython", True),
        "build": Key(str, "the command that builds it", True),
        "frozen_file": Key(str, "the one that holds the agent"),
        "frozen_list": Key(str, "its frozen.json"),
        "frozen_build": Key(str, "the command that builds both"),
    },
    "emulator": {
        "program": Key(str, "what emulates it", True),
        "storage_size": Key(int, "bytes of its storage file", True, least=1),
        "sector": Key(int, "bytes", True, least=1),
        "seed_offset": Key(int, "where the seed is", True),
        "wear_offset": Key(int, "where erases are counted", True),
        **{cpu: Key(dict, f"its {name}") for cpu, name in CPUS.items()},
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
    wrong = partial(_wrong, path)
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
            check_table(table, keys, values, wrong)
    for cpu in CPUS:
        values = settings.get("emulator", {}).get(cpu)
        if values is not None:
            check_table(f"emulator.{cpu}", _CPU, values, wrong)
    _check_slots(path, settings["slots"])


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
