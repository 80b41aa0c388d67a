"""MQTT client; docs/mqtt.md of Tidegate."""

from collections.abc import Callable
from typing import Any

class MqttError(Exception):
    reason: str
    code: int | None
    def __init__(self, reason: str, text: str, code: int | None = None) -> None: ...

class Client:
    connected: bool
    error: Exception | None
    sessions: int
    oversized: int
    handler_errors: int
    def __init__(
        self,
        client_id: str,
        host: str,
        port: int = 1883,
        user: str | None = None,
        password: str | None = None,
        keepalive: int = 60,
        clean: bool = True,
        will: tuple[Any, ...] | None = None,
        ssl: Any = None,
        version: int = 4,
        properties: dict[int, Any] | None = None,
        max_packet: int = 4096,
        window: int = 4,
        held: int | None = None,
        **options: int | Callable[..., Any] | None,
    ) -> None: ...
    async def run(self) -> None: ...
    def disconnect(self) -> None: ...
    async def wait_connected(self) -> None: ...
    async def publish(
        self,
        topic: str,
        payload: Any,  # str or bytes-like; with a size, a reader of so many bytes
        qos: int = 0,
        retain: bool = False,
        timeout_s: float | None = None,
        size: int | None = None,
        properties: dict[int, Any] | None = None,
    ) -> int | None: ...
    async def subscribe(self, topic: str, qos: int = 1) -> int | None: ...
    async def unsubscribe(self, topic: str) -> None: ...
    async def round_trip(self) -> None: ...
