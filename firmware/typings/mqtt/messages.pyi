"""Messages of an MQTT client in a loop; docs/mqtt.md of Tidegate."""

from collections.abc import AsyncIterator
from typing import Any

from . import Client

class Messages(AsyncIterator[tuple[Any, ...]]):
    dropped: int
    def __init__(self, client: Client, most: int = 8) -> None: ...
    async def __anext__(
        self,
    ) -> tuple[Any, ...]: ...  # topic, payload, retained; of MQTT 5 properties
