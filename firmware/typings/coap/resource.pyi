from collections.abc import Callable, Sequence
from typing import Any

class Request:
    method: int
    path: str
    payload: memoryview
    peer: Any
    offset: int
    more: bool
    def __init__(self, message: Any, peer: Any, path: str) -> None: ...  # the server makes it
    def uint(self, number: int, default: int | None = None) -> int | None: ...
    def values(self, number: int) -> list[bytes]: ...

class Reply:
    def __init__(
        self,
        code: int | None = None,
        body: bytes | str | Callable[[int, memoryview], object] = b"",
        format: int | None = None,
        size: int | None = None,
        etag: bytes | None = None,
        max_age: int | None = None,
        options: Sequence[tuple[int, bytes | int]] = (),
    ) -> None: ...
