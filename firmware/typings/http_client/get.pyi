from collections.abc import Callable
from typing import Any

from http_client.header import HttpError as HttpError

async def get(
    host: str,
    port: int,
    path: str,
    offset: int,
    sink: Callable[[memoryview], object],
    buf: bytearray,
    max_size: int,
    timeout_s: float = 30,
    etag: str | None = None,
    ssl: Any = None,
) -> int: ...
