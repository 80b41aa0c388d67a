"""A device that speaks CoAP, as docs/coap-uplink.md tells it to: hashes and bytes, nothing of the server's code. Its
messages are carried by aiocoap's client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import struct
import threading
from collections.abc import Awaitable
from typing import Any, TypeVar

import aiocoap
from aiocoap import GET, POST, Message
from patience import limit

from tidegate.wire.cbor import dumps

T = TypeVar("T")
WAIT_S = limit(60)


def mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def bstr(data: bytes) -> bytes:
    """The CBOR byte string of up to 65535 bytes."""
    size = len(data)
    head = struct.pack("B", 0x40 + size) if size < 24 else b"\x58" + bytes((size,)) if size < 256 else None
    return (head or b"\x59" + struct.pack(">H", size)) + data


def signed(session: bytes, path: str, counter: int, payload: bytes) -> bytes:
    """The body of a POST to `path`."""
    protected = bytes.fromhex("a201040644") + struct.pack(">I", counter)
    structure = b"\x84\x64MAC0" + bstr(protected) + bstr(b"\x02" + path.encode()) + bstr(payload)
    tag = mac(session, structure)[:8]
    return b"\xd1\x84" + bstr(protected) + b"\xa0" + bstr(payload) + bstr(tag)


def read_tag(session: bytes, path: str) -> str:
    return mac(session, b"\x01" + path.encode())[:8].hex()


class Loop:
    """An event loop in a thread, so that tests can be written in order."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Awaitable[T]) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(work, WAIT_S)

        return asyncio.run_coroutine_threadsafe(bounded(), self.loop).result(WAIT_S + 5)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


class CoapDevice:
    """`device_id` with its key, at `url` ("coap://host:port")."""

    def __init__(self, device_id: str, key: bytes, url: str, loop: Loop) -> None:
        self.id, self.key, self.url = device_id, key, url
        self.session: bytes | None = None
        self.echo: bytes | None = None
        self.counter = 0
        self.heard: list[bytes] = []
        self._loop = loop
        self._context = loop.run(aiocoap.Context.create_client_context(transports=["udp6"]))
        self._observations: list[Any] = []

    def close(self) -> None:
        for listening in self._observations:
            self._loop.loop.call_soon_threadsafe(listening.cancel)
        self._loop.run(self._context.shutdown())

    def send(self, code: Any, path: str, payload: bytes = b"", **options: Any) -> Message:
        """One request as it is; the answer."""
        return self._loop.run(self._request(code, path, payload, **options))

    async def _request(self, code: Any, path: str, payload: bytes = b"", **options: Any) -> Message:
        message = Message(code=code, uri=f"{self.url}/{path}", payload=payload, **options)
        return await self._context.request(message, handle_blockwise=options.get("block2") is None).response

    def begin(self) -> None:
        """A session: ask for an Echo value, and derive its key."""
        answer = self.send(POST, f"tg/{self.id}/up/birth")
        assert answer.code == aiocoap.UNAUTHORIZED and len(answer.opt.echo) == 16
        self.use(answer.opt.echo)

    def use(self, echo: bytes) -> None:
        self.echo, self.counter = echo, 0
        self.session = mac(self.key, b"tidegate coap 1" + echo)

    def say(self, topic: str, message: Any, **options: Any) -> Message:
        """POST to up/`topic`. Bytes go out as they are, all else as CBOR."""
        if self.session is None:
            self.begin()
        payload = message if isinstance(message, bytes) else dumps(message)
        path = f"tg/{self.id}/up/{topic}"
        if self.echo is not None:
            options.setdefault("echo", self.echo)
        body = signed(self.session, path, self.counter, payload)
        self.counter += 1
        answer = self.send(POST, path, body, **options)
        if answer.code == aiocoap.CHANGED:
            self.echo = None  # it has served
        return answer

    def down(self, topic: str) -> str:
        path = f"tg/{self.id}/down/{topic}"
        return f"{path}?a={read_tag(self.session, path)}"

    def read(self, topic: str, **options: Any) -> Message:
        return self.send(GET, self.down(topic), **options)

    def observe(self, topic: str) -> list[bytes]:
        """Payloads of what is told under down/`topic`; the list grows."""
        heard: list[bytes] = []

        async def register() -> None:
            message = Message(code=GET, uri=f"{self.url}/{self.down(topic)}", observe=0)
            request = self._context.request(message, handle_blockwise=True)
            heard.append((await request.response).payload)
            self._observations.append(asyncio.create_task(listen(request)))

        async def listen(request: Any) -> None:
            with contextlib.suppress(aiocoap.error.Error):
                async for response in request.observation:
                    if response.code.is_successful():  # else it says that nothing more comes
                        heard.append(response.payload)

        self._loop.run(register())
        return heard
