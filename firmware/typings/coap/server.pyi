from collections.abc import Callable, Sequence
from typing import Any

from coap.resource import Reply as Reply
from coap.resource import Request

_Handler = Callable[[Request], Any]  # plain or async; what it returns: docs/coap.md

class Server:
    def __init__(
        self,
        host: str = "0.0.0.0",
        port: int = 5683,
        block: int = 1024,
        max_body: int = 4096,
        failed: Callable[[Request, Exception], object] | None = None,
        ack_timeout_s: int = 2,
    ) -> None: ...
    def add(
        self,
        path: str,
        get: _Handler | None = None,
        post: _Handler | None = None,
        put: _Handler | None = None,
        delete: _Handler | None = None,
        links: str = "",
        observable: bool = False,
        confirmable: bool = False,
        fresh: bool = False,
        blocks: bool = False,
        below: bool = False,
        more: Sequence[_Handler | None] = (),
    ) -> None: ...
    def remove(self, path: str) -> None: ...
    def changed(self, path: str) -> None: ...
    async def run(self) -> None: ...
