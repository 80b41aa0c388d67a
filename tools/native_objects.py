"""What an object file must be like so that MicroPython's linker (tools/mpy_ld.py) makes a right native module of it.

mpy_ld refuses most of what it cannot link, by assertions. This looks for what passes it and is wrong when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

# Relocations that mpy_ld gets right, by the kind of section they are in (ARM ELF ABI, section 5.6.1).
ARM_TEXT = {
    "R_ARM_REL32": 3,
    "R_ARM_THM_CALL": 10,
    "R_ARM_BASE_PREL": 25,
    "R_ARM_GOT_BREL": 26,
    "R_ARM_THM_JUMP24": 30,
}
ARM_DATA = {"R_ARM_ABS32": 2}
KEPT = (".text", ".rodata", ".data.rel.ro", ".bss")  # the sections mpy_ld takes over; the beginnings of their names
# The heap that a module is loaded to gives out blocks of four words; a section cannot be aligned better than that.
ARM_ALIGNMENT = 16
# Two names of one function: GCC folds two functions with the same body, and what it then makes of memmove is a copy
# that goes forward whatever overlaps (firmware/native/libc.h).
ONE_FUNCTION = ("memcpy", "memmove")


def faults(path: Path) -> list[str]:
    """What is wrong with the object file, each in words; empty: it may be linked."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        found = _copies(elf)
        if elf["e_machine"] == "EM_ARM":
            found += _sections(elf) + _relocations(elf)
    return found


def _copies(elf: ELFFile) -> list[str]:
    symbols: Any = elf.get_section_by_name(".symtab")
    places = {}
    for name in ONE_FUNCTION:
        for symbol in (symbols and symbols.get_symbol_by_name(name)) or []:
            if symbol["st_shndx"] != "SHN_UNDEF":
                places[name] = symbol["st_shndx"], symbol["st_value"]
    if len(set(places.values())) > 1:
        return ["memcpy and memmove are two functions: memmove may copy forward over what it has still to read"]
    return []


def _sections(elf: ELFFile) -> list[str]:
    return [
        f"section {section.name} is aligned to {section['sh_addralign']} bytes, a block of the heap to {ARM_ALIGNMENT}"
        for section in elf.iter_sections()
        if section.name.startswith(KEPT) and section["sh_addralign"] > ARM_ALIGNMENT
    ]


def _relocations(elf: ELFFile) -> list[str]:
    found = []
    for section in elf.iter_sections():
        if not isinstance(section, RelocationSection):
            continue
        target = elf.get_section(section["sh_info"]).name
        if not target.startswith(KEPT):
            continue
        known = ARM_DATA if target.startswith(".data.rel.ro") else ARM_TEXT
        unknown = {relocation["r_info_type"] for relocation in section.iter_relocations()} - set(known.values())
        found += [f"section {target} has a relocation of kind {kind}, not one of {known}" for kind in sorted(unknown)]
    return found
