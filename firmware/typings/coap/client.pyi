from collections.abc import Callable, Sequence
from typing import Any

from coap.block import Answer
from coap.block import CoapError as CoapError
from coap.observe import Observation

_Sink = Callable[[memoryview], object]

class Client:
    def __init__(
        self,
        host: str,
        port: int = 5683,
        block: int = 512,
        buffers: tuple[bytearray, bytearray] | None = None,
        token_size: int = 4,
        ack_timeout_s: int = 2,
    ) -> None: ...
    async def __aenter__(self) -> Client: ...
    async def __aexit__(self, *_: object) -> None: ...
    def close(self) -> None: ...
    async def get(
        self,
        path: str,
        sink: _Sink | None = None,
        offset: int = 0,
        max_size: int = 2048,
        etag: bytes | None = None,
        **more: Any,
    ) -> Answer: ...
    async def post(
        self, path: str, payload: Any = b"", format: int | None = None, **more: Any
    ) -> Answer: ...
    async def put(
        self, path: str, payload: Any = b"", format: int | None = None, **more: Any
    ) -> Answer: ...
    async def delete(self, path: str, **more: Any) -> Answer: ...
    async def request(
        self,
        method: int,
        path: str,
        payload: Any = None,  # bytes-like; with a size, an object with readinto(view)
        format: int | None = None,
        sink: _Sink | None = None,
        offset: int = 0,
        max_size: int = 2048,
        etag: bytes | None = None,
        size: int | None = None,
        query: str = "",
        accept: int | None = None,
        options: Sequence[tuple[int, bytes | int]] = (),
        confirmable: bool = True,
        no_response: int = 0,
        timeout_s: float = 93,
    ) -> Answer | None: ...
    async def ping(self, timeout_s: float = 93) -> None: ...
    async def observe(
        self,
        path: str,
        query: str = "",
        accept: int | None = None,
        max_size: int = 2048,
        timeout_s: float = 93,
    ) -> Observation: ...

async def fetch(
    host: str,
    port: int,
    path: str,
    offset: int,
    sink: _Sink,
    buf: bytearray,
    max_size: int,
    timeout_s: float = 30,
    etag: bytes | None = None,
) -> int: ...
