"""Reads .mpy files, MicroPython's compiled modules, as far as their tables are concerned (version 6).

A file has a table of its strings, a table of its other constants, and code that refers to both by index. Numbers
are big-endian groups of seven bits. The form: docs/reference/mpyfiles.rst and py/persistentcode.c of MicroPython.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tidegate.errors import TidegateError

VERSION = 6
_HEADER_SIZE = 4
_MAX_DEPTH = 64  # of functions in functions, and of tuples in tuples
_MAX_NUMBER_BYTES = 5

# Constants: those without a body, those with one that ends in a zero byte, those without that, and tuples.
_BARE = frozenset(range(5))
_TERMINATED = frozenset((5, 6))
_NUMERALS = frozenset((7, 8, 9))
_TUPLE = 10

# The operand of a bytecode by its high half (py/bc.h, MP_BC_FORMAT), and the codes with a byte more.
_OPERANDS = 0x000003A4
_NONE, _STRING, _NUMBER, _OFFSET = range(4)
_NO_EXTRA_BYTE = 0x9E  # none of these bits: MP_BC_MASK_EXTRA_BYTE
_LOAD_CONST_OBJ = 0x23


class MpyError(TidegateError):
    """A file that is not a .mpy this module can read."""

    def __init__(self, message: str):
        super().__init__(f"the .mpy file {message}", "Compile it with the mpy-cross of this project")


@dataclass(frozen=True)
class Reference:
    """A reference in the code to an entry: `size` bytes at `position` that hold `index`."""

    position: int
    size: int
    index: int


@dataclass
class Module:
    """A .mpy file taken apart: raw entries of both tables, where they and the code begin, who refers to them.

    With `native` set, the file has machine code, and the lists of references are not complete.
    """

    data: bytes
    strings: list[bytes] = field(default_factory=list)
    constants: list[bytes] = field(default_factory=list)
    tables: int = 0  # offset of the first string
    code: int = 0  # offset of the code
    native: bool = False
    string_references: list[Reference] = field(default_factory=list)
    constant_references: list[Reference] = field(default_factory=list)


def parse(data: bytes) -> Module:
    """The module in `data`; MpyError for anything mpy-cross would not write."""
    if len(data) < _HEADER_SIZE or data[0] != ord("M"):
        raise MpyError("does not begin as one")
    if data[1] != VERSION:
        raise MpyError(f"has version {data[1]}, not {VERSION}")
    reader = _Reader(data)
    reader.position = _HEADER_SIZE
    module = Module(data)
    string_count, constant_count = reader.number(), reader.number()
    if max(string_count, constant_count) > len(data):
        raise MpyError("is damaged: its tables are larger than it is")
    module.tables = reader.position
    module.strings = [reader.piece(reader.skip_string) for _ in range(string_count)]
    module.constants = [reader.piece(reader.skip_constant) for _ in range(constant_count)]
    module.code = reader.position
    _read_code(reader, module, 0)
    if not module.native and reader.position != len(data):
        raise MpyError("is damaged: bytes follow its end")
    for references, table in (
        (module.string_references, module.strings),
        (module.constant_references, module.constants),
    ):
        if any(reference.index >= len(table) or size_of(reference.index) != reference.size for reference in references):
            raise MpyError("is damaged: it refers to what its tables do not have")
    return module


def size_of(index: int) -> int:
    """Bytes of a reference to the entry `index`."""
    return max(1, (index.bit_length() + 6) // 7)


def number(value: int) -> bytes:
    """`value` as a reference writes it."""
    groups = [value >> shift & 0x7F for shift in range(7 * (size_of(value) - 1), -1, -7)]
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def _read_code(reader: _Reader, module: Module, depth: int) -> None:
    """One function and those inside it (read_raw_code in tools/mpy-tool.py says the same from the other side)."""
    if depth > _MAX_DEPTH:
        raise MpyError("is damaged: its functions are nested too deep")
    head = reader.number()
    end = reader.position + (head >> 3)
    if head & 3:
        module.native = True
    if module.native:
        return
    _read_bytecode(reader, module, end)
    for _ in range(reader.number() if head & 4 else 0):
        _read_code(reader, module, depth + 1)
        if module.native:
            return


def _read_bytecode(reader: _Reader, module: Module, end: int) -> None:
    arguments = _arguments(reader)
    information, cells = _information_and_cells(reader)
    opcodes = reader.position + information + cells
    for _ in range(1 + arguments):  # its name, then theirs
        module.string_references.append(reader.reference())
    if not reader.position <= opcodes <= end <= len(reader.data):
        raise MpyError("is damaged: a function is longer than its record")
    reader.position = opcodes
    while reader.position < end:
        opcode = reader.byte()
        operand = _OPERANDS >> 2 * (opcode >> 4) & 3
        if operand == _STRING:
            module.string_references.append(reader.reference())
        elif operand == _NUMBER and opcode == _LOAD_CONST_OBJ:
            module.constant_references.append(reader.reference())
        elif operand == _NUMBER:
            reader.skip_number()
        elif operand == _OFFSET and reader.byte() & 0x80:
            reader.byte()
        if not opcode & _NO_EXTRA_BYTE:
            reader.byte()
    if reader.position != end:
        raise MpyError("is damaged: an operation is longer than its function")


def _arguments(reader: _Reader) -> int:
    """Positional and keyword-only arguments together, from the signature (py/bc.h, MP_BC_PRELUDE_SIG_DECODE)."""
    byte = reader.byte()
    positional, keyword = byte & 3, 0
    for at in range(8):
        if not byte & 0x80:
            return positional + keyword
        byte = reader.byte()
        positional |= (byte & 4) << at
        keyword |= (byte >> 3 & 1) << at
    raise MpyError("is damaged: a function's signature is too long")


def _information_and_cells(reader: _Reader) -> tuple[int, int]:
    """Bytes of names and line numbers, and cells (py/bc.h, MP_BC_PRELUDE_SIZE_DECODE)."""
    information = cells = 0
    for at in range(8):
        byte = reader.byte()
        information |= (byte >> 1 & 0x3F) << 6 * at
        cells |= (byte & 1) << at
        if not byte & 0x80:
            return information, cells
    raise MpyError("is damaged: a function's size is too long")


class _Reader:
    """Bytes, numbers and entries in order; MpyError where the file ends early."""

    def __init__(self, data: bytes):
        self.data = data
        self.position = 0

    def byte(self) -> int:
        self._skip(1)
        return self.data[self.position - 1]

    def number(self) -> int:
        value = 0
        for _ in range(_MAX_NUMBER_BYTES):
            byte = self.byte()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise MpyError("is damaged: a number is too long")

    def skip_number(self) -> None:
        """A number of any length: a small int may take more than an index."""
        while self.byte() & 0x80:
            pass

    def reference(self) -> Reference:
        position = self.position
        index = self.number()
        return Reference(position, self.position - position, index)

    def piece(self, skip: Callable[[], None]) -> bytes:
        start = self.position
        skip()
        return self.data[start : self.position]

    def skip_string(self) -> None:
        """One of those every firmware has, by number; or length, text and a zero byte."""
        head = self.number()
        if not head & 1:
            self._skip((head >> 1) + 1)

    def skip_constant(self, depth: int = 0) -> None:
        kind = self.byte()
        if kind in _BARE:
            return
        if kind == _TUPLE and depth < _MAX_DEPTH:
            for _ in range(self.number()):
                self.skip_constant(depth + 1)
        elif kind in _TERMINATED or kind in _NUMERALS:
            self._skip(self.number() + (kind in _TERMINATED))
        else:
            raise MpyError(f"has a constant of kind {kind}, which is not known here")

    def _skip(self, count: int) -> None:
        self.position += count
        if self.position > len(self.data):
            raise MpyError("is cut off")
