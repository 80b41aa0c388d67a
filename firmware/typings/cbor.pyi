"""Deterministic CBOR; docs/cbor.md of Tidegate."""

from typing import Any

MAX_SIZE: int
MAX_DEPTH: int
MAX_ITEMS: int

class CborError(ValueError): ...

class Tag:
    tag: int
    value: Any
    def __init__(self, tag: int, value: Any) -> None: ...

def dumps(obj: Any) -> bytes: ...
def is_uint(value: Any) -> bool: ...
def loads(
    buf: bytes | bytearray | memoryview,
    max_size: int = ...,
    max_depth: int = ...,
    max_items: int = ...,
    views: bool = False,
) -> Any: ...
