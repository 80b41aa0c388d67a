"""Every live object in the Python heap of an emulated board, from a copy of its memory: what it is, and whose.

Objects are marked as the collector marks them, from MicroPython's roots, the registers and the stack, so what is
garbage does not count. The layout of MicroPython's structures comes from the firmware's debugging information.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

WORD = 4
BLOCK = 4 * WORD  # bytes; MicroPython's MICROPY_BYTES_PER_GC_BLOCK
CONTEXT = 16  # bytes of an mp_module_context_t
HEAD, TAIL = 1, 2  # states of a block in the allocation table, two bits each
RAM_SIZE = 4 * 1024 * 1024  # of the emulated board, from address 0, its program included

# Kinds by the type that an object's first word points at, for people.
KINDS = {
    "module": "modules", "fun_bc": "functions", "gen_wrap": "functions", "closure": "functions", "cell": "functions",
    "fun_native": "functions", "fun_viper": "functions", "fun_asm": "functions", "bound_meth": "functions",
    "native_gen_wrap": "functions", "type": "classes", "dict": "dictionaries", "gen_instance": "coroutines and tasks",
    "task": "coroutines and tasks", "task_queue": "coroutines and tasks", "str": "strings and bytes",
    "bytes": "strings and bytes", "bytearray": "buffers", "array": "buffers", "memoryview": "buffers",
    "property": "functions", "staticmethod": "functions", "classmethod": "functions",
}  # fmt: skip


class Firmware:
    """Symbols and structures of an ELF file with debugging information."""

    def __init__(self, path: Path):
        with path.open("rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            self.symbols = {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}
            # Of modules whose functions are in flash: boards/frozen/functions.c.
            self.contexts = range(0)
            for array in table.get_symbol_by_name("functions_contexts") or ():
                self.contexts = range(array["st_value"], array["st_value"] + array["st_size"], CONTEXT)
            self._structures = self._read(elf)
        self.types = {at: name[8:] for name, at in self.symbols.items() if name.startswith("mp_type_")}
        for name in ("task_queue_type", "task_type"):  # of _asyncio
            if name in self.symbols:
                self.types[self.symbols[name]] = name.removesuffix("_type")

    def _read(self, elf: ELFFile) -> dict[str, dict[str, tuple[int, str]]]:
        """{structure or typedef: {member: (offset, name of its structure)}}"""
        found: dict[str, dict[str, tuple[int, str]]] = {}
        for unit in elf.get_dwarf_info().iter_CUs():
            for entry in unit.get_top_DIE().iter_children():
                name = _name(entry)
                if not name or name in found or name not in ("mp_state_ctx_t", "_mp_state_ctx_t"):
                    continue
                self._add(found, name, entry)
            if found:
                break
        return found

    def _add(self, found: dict[str, dict[str, tuple[int, str]]], name: str, entry: Any) -> None:
        while entry.tag in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type"):
            entry = entry.get_DIE_from_attribute("DW_AT_type")
        members: dict[str, tuple[int, str]] = {}
        found[name] = members
        if entry.tag != "DW_TAG_structure_type":
            return
        for member in entry.iter_children():
            if "DW_AT_data_member_location" in member.attributes:
                kind = member.get_DIE_from_attribute("DW_AT_type")
                inner = f"{name}.{_name(member)}"
                members[_name(member)] = (member.attributes["DW_AT_data_member_location"].value, inner)
                self._add(found, inner, kind)

    def offset(self, path: str) -> int:
        """Bytes from the start of mp_state_ctx to a member, such as "mem.area.gc_pool_start"."""
        structure, total = next(iter(self._structures)), 0
        for part in path.split("."):
            at, structure = self._structures[structure][part]
            total += at
        return total


def _name(entry: Any) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    return attribute.value.decode() if attribute else ""


class Census:
    """The live objects. live, free, largest: bytes; by_kind, by_owner: {name: (bytes, objects)}."""

    def __init__(self, firmware: Firmware, memory: bytes, registers: dict[str, int], flash: tuple[int, bytes]):
        """memory: RAM, from address 0; flash: where it is mapped, and what is in it: names may lie there."""
        self._firmware = firmware
        self._memory = memory
        self._flash = flash
        self._context = firmware.symbols["mp_state_ctx"]
        table = self._state("mem.area.gc_alloc_table_start")
        length = self._state("mem.area.gc_alloc_table_byte_len")
        self._pool = self._state("mem.area.gc_pool_start")
        self._states = [byte >> shift & 3 for byte in memory[table : table + length] for shift in (0, 2, 4, 6)]
        self._sizes = self._objects()
        roots = list(self._roots(registers))
        self._live = self._mark(roots)
        self._kinds: dict[int, str] = {}
        self._owners: dict[int, str] = {}
        self._tell_kinds()
        self._tell_owners()
        self.live = sum(self._sizes[at] for at in self._live)
        self.free = len(self._states) * BLOCK - self.live
        self.largest = self._largest()
        self.by_kind = self._sum(self._kinds)
        self.by_owner = self._sum(self._owners)
        self.largest_objects = sorted(
            ((self._sizes[at], self._kinds[at], self._owners[at]) for at in self._live), reverse=True
        )[:20]

    # -------------------------------------------------------------- memory

    def word(self, at: int) -> int:
        return int(struct.unpack_from("<I", self._memory, at)[0]) if 0 <= at <= len(self._memory) - WORD else 0

    def _state(self, path: str) -> int:
        return self.word(self._context + self._firmware.offset(path))

    def _objects(self) -> dict[int, int]:
        """{address: bytes} of all that is allocated, garbage included."""
        sizes: dict[int, int] = {}
        at = 0
        for number, state in enumerate(self._states):
            if state == HEAD:
                at = self._pool + number * BLOCK
                sizes[at] = BLOCK
            elif state == TAIL:
                sizes[at] += BLOCK
        return sizes

    def _words(self, at: int) -> Iterator[int]:
        return (word for (word,) in struct.iter_unpack("<I", self._memory[at : at + self._sizes[at]]))

    def _children(self, at: int) -> Iterator[int]:
        return (word for word in self._words(at) if word in self._sizes)

    def _roots(self, registers: dict[str, int]) -> Iterator[int]:
        """As gc_collect_start of py/gc.c, the port's gc_collect and boards/frozen/functions.c."""
        start = self._context + self._firmware.offset("thread.dict_locals")
        end = self._context + self._firmware.offset("vm.qstr_last_chunk")
        stack = registers.get("R13", 0)
        contexts = self._firmware.contexts
        for first, last in ((start, end), (stack, self._state("thread.stack_top")), (contexts.start, contexts.stop)):
            yield from (self.word(at) for at in range(first & ~3, last, WORD))
        yield from registers.values()

    def _mark(self, roots: list[int]) -> set[int]:
        live: set[int] = set()
        waiting = [root for root in roots if root in self._sizes]
        while waiting:
            at = waiting.pop()
            if at not in live:
                live.add(at)
                waiting += self._children(at)
        return live

    def _largest(self) -> int:
        """Bytes of the largest piece between two live objects."""
        largest, end = 0, self._pool
        for at in [*sorted(self._live), self._pool + len(self._states) * BLOCK]:
            largest = max(largest, at - end)
            end = at + self._sizes.get(at, 0)
        return largest

    def _sum(self, named: dict[int, str]) -> dict[str, tuple[int, int]]:
        sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for at in self._live:
            size, count = sums[named[at]]
            sums[named[at]] = size + self._sizes[at], count + 1
        return dict(sorted(sums.items(), key=lambda item: -item[1][0]))

    # -------------------------------------------------------------- names

    def pools(self) -> Iterator[tuple[int, int, int, int]]:
        """(address, names before it, names in it, whether sorted), the newest first."""
        at = self._state("vm.last_pool")
        while at:
            before = self.word(at + WORD)
            yield at, before & 0x7FFFFFFF, self.word(at + 3 * WORD), before >> 31
            at = self.word(at)

    @cache  # noqa: B019 - a census lives as long as its process
    def text(self, number: int) -> str:
        """The name of this number."""
        for at, before, count, _ in self.pools():
            if before <= number < before + count:
                start = self.word(at + 6 * WORD + (number - before) * WORD)
                base, data = (0, self._memory) if start < len(self._memory) else self._flash
                return data[start - base : data.index(0, start - base)].decode(errors="replace")
        return "?"

    def names_in_ram(self) -> list[str]:
        return [
            self.text(before + number)
            for at, before, count, _ in self.pools()
            if at in self._sizes
            for number in range(count)
        ]

    # -------------------------------------------------------------- kinds

    def _type(self, at: int) -> str:
        """The name of a built-in type, "instance", or "" for what is no object."""
        first = self.word(at)
        if first in self._firmware.types:
            return self._firmware.types[first]
        if first in self._sizes and self._firmware.types.get(self.word(first)) == "type":
            return "instance"
        return ""

    def _tell_kinds(self) -> None:
        for at in self._live:
            kind = self._type(at)
            if kind == "instance":
                self._kinds[at] = "instances"
            elif kind:
                self._kinds[at] = KINDS.get(kind, "other objects")
        for pool, _, count, _ in self.pools():
            names = [self.word(pool + (6 + number) * WORD) for number in range(count)] if pool in self._live else []
            for at in (pool, *names):
                if at in self._live:
                    self._kinds[at] = "names in RAM"
        for at in list(self._live):
            self._tell_parts(at)
        for at in self._live:
            self._kinds.setdefault(at, "other")

    def _tell_parts(self, at: int) -> None:
        """Kinds of what an object has beside itself."""
        kind = self._type(at)
        if kind == "dict":
            self._part(at, 3, "tables of dictionaries")
        elif kind == "instance":
            self._part(at, 3, "tables of instances")
        elif kind == "module":
            self._part(at, 2, "modules' tables of names and constants")
            self._part(at, 3, "modules' tables of names and constants")
        elif kind in ("fun_bc", "gen_wrap"):
            self._tell_code(self.word(at + 2 * WORD))
        elif kind in ("str", "bytes"):
            self._part(at, 3, "strings and bytes")
        elif kind in ("bytearray", "array"):
            self._part(at, 3, "buffers")
        elif kind == "list":
            self._part(at, 3, "other objects")
        elif kind in ("fun_native", "fun_viper", "fun_asm"):
            self._part(at, 3, "machine code")
        self._code_list()

    def _tell_code(self, table: int) -> None:
        if table in self._live and table not in self._kinds:
            self._kinds[table] = "functions' descriptions"
            for child in self._children(table):
                if child not in self._kinds:
                    self._kinds[child] = "functions' descriptions"
                    self._tell_code(self.word(child + 2 * WORD))

    @cache  # noqa: B019
    def _code_list(self) -> None:
        """Machine code that was relocated; the collector must never free it."""
        for path in ("vm.persistent_code_root_pointers", "vm.track_reloc_code_list"):
            try:
                tracked = self._state(path)
            except KeyError:
                continue
            for at in self._children(self.word(tracked + 3 * WORD)) if tracked in self._live else ():
                self._kinds[at] = "machine code"

    def _part(self, at: int, word: int, kind: str) -> None:
        part = self.word(at + word * WORD)
        if part in self._live and not self._type(part):
            self._kinds.setdefault(part, kind)

    # -------------------------------------------------------------- owners

    def _tell_owners(self) -> None:
        """A function is its module's, an instance its class's; what belongs to neither, the nearest owner's."""
        modules = {at: self._module(at) for at in self._live if self._type(at) == "module"}
        self._owners.update(modules)
        modules |= {at: self._module(at) for at in self._firmware.contexts if self.word(at)}
        for at in self._live:
            if owner := self._owner_of_function(at, modules):
                self._owners[at] = owner
        for _ in range(2):  # a class may have no function but what it inherits
            for at in self._live:
                if self._type(at) == "type" and at not in self._owners:
                    self._own_class(at, modules)
        for at in self._live:
            if self._type(at) == "instance" and self.word(at) in self._owners:
                self._owners[at] = self._owners[self.word(at)]
        for at in self._live:
            if self._kinds[at] == "names in RAM":
                self._owners[at] = "names in RAM"
        nearest = sorted(self._owners)
        while nearest:
            further = []
            for at in nearest:
                for child in sorted(set(self._children(at)) & self._live):
                    if child not in self._owners:
                        self._owners[child] = self._owners[at]
                        further.append(child)
            nearest = further
        for at in self._live:
            self._owners.setdefault(at, "MicroPython")

    def _owner_of_function(self, at: int, modules: dict[int, str]) -> str | None:
        """The module of what is at this address, in the heap or in flash; None if it is no function."""
        if self._type(at) in ("fun_bc", "gen_wrap", "fun_native", "fun_viper"):
            return modules.get(self.word(at + WORD))
        return None

    def _own_class(self, at: int, modules: dict[int, str]) -> None:
        for names in self._children(at):
            table = self.word(names + 3 * WORD) if self._type(names) == "dict" else 0
            for word in self._words(table) if table in self._live else ():
                if owner := self._owner_of_function(word, modules):
                    self._owners[at] = owner
                    return

    def _module(self, at: int) -> str:
        """Its name, from its own dictionary."""
        names = self.word(at + WORD)
        table, used = self.word(names + 3 * WORD), self.word(names + WORD) >> 3
        for number in range(used):
            key, value = self.word(table + number * 2 * WORD), self.word(table + (number * 2 + 1) * WORD)
            if key & 3 == 2 and self.text(key >> 3) == "__name__":
                return self.text(value >> 3) if value & 3 == 2 else "?"
        return "?"
