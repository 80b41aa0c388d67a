from typing import Any

from coap.block import Answer

class Observation:
    active: bool
    skipped: int
    slack_s: int
    def __init__(
        self, client: Any, options: Any, max_size: int, wait_ms: int
    ) -> None: ...  # the client makes it
    async def next(self) -> Answer: ...
    async def cancel(self) -> None: ...
    def close(self) -> None: ...
