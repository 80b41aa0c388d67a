from typing import Any

class CoapError(Exception):
    reason: str
    code: int | None
    etag: bytes | None
    echo: bytes | None
    def __init__(self, reason: str, text: str, code: int | None = None) -> None: ...

class Answer:
    code: int
    payload: bytes
    size: int
    format: int | None
    options: list[tuple[int, bytes]]
    etag: bytes | None
    def __init__(self, message: Any) -> None: ...  # the client makes it
