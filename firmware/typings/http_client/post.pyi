from typing import Any

from http_client.header import HttpError as HttpError

async def post(
    host: str,
    port: int,
    path: str,
    kind: str,
    body: bytes,
    buf: bytearray,
    timeout_s: float = 30,
    ssl: Any = None,
) -> tuple[int, memoryview]: ...
