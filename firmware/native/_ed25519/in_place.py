"""Verifies signatures with machine code that runs where the image is mapped: it takes no RAM.

The builder lays in_place.bin beside this file, at a multiple of four bytes. Where the image is not
mapped, the code is in RAM for as long as this module is loaded. Machine code from .mpy files
(ed25519.c) is copied into RAM and stays there.
"""

# The assembler has names of its own.
# ruff: noqa: F821

import micropython

_FILE = __file__[: __file__.rfind(".")] + ".bin"


@micropython.asm_thumb
def _address(r0):
    pass  # of what it is called with: r0 is what it returns


@micropython.asm_thumb
def _call(r0, r1, r2, r3):
    # The code at r0, with the others as its arguments. An odd address means Thumb code.
    add(r0, 1)
    mov(r4, r0)
    mov(r0, r1)
    mov(r1, r2)
    mov(r2, r3)
    data(2, 0x47A0)  # blx r4


def _open():
    try:
        with open(_FILE, "rb") as file:
            try:
                code = memoryview(file)
            except TypeError:  # this file system does not map it
                code = bytearray(file.seek(0, 2))  # in one piece: read() would make it grow
                file.seek(0)
                file.readinto(code)
    except OSError:
        raise ImportError("no in_place.bin")
    return _aligned(code)


def _aligned(code):
    if _address(code) & 3:
        raise ImportError("in_place.bin is not aligned")
    return code


_code = _open()


def verify(public_key, message, signature):
    """Whether signature (64 bytes) is the key's (32 bytes) over message (bytes-like)."""
    message = memoryview(message)
    if len(public_key) != 32 or len(signature) != 64:
        return False
    parts = bytearray(96)
    parts[:32] = public_key
    parts[32:] = signature
    return _call(_code, parts, message, len(message)) == 1
