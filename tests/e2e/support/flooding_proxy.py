"""A broker that somebody took over: it passes everything on between a board and the real broker, and puts messages of
its own among those that come down, a thousand a second if it likes. It notes what the board publishes.

Seconds are the board's own: an emulated board on a busy machine works slowly, and by its clock nothing changes.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable

PUBLISH, PUBACK = 0x30, 0x40
FIRST_ID = 50_000  # packet identifiers of its own, above those that the broker uses
PAUSE_S = 0.01  # of the machine's time, between two looks at the board's
BACKLOG = 1 << 16  # bytes that wait for a board that does not read; then what is more is dropped, as brokers do


def packet(topic: str, payload: bytes, qos: int, number: int) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic.encode() + (number.to_bytes(2, "big") if qos else b"") + payload
    size, head = len(body), bytearray((PUBLISH | qos << 1,))
    while True:
        size, digit = size >> 7, size & 127
        head.append(digit | (128 if size else 0))
        if not size:
            return bytes(head) + body


class FloodingProxy:
    """In a thread of its own. port: where boards connect. published: topics that boards published to; sent, dropped,
    acknowledged: messages of its own; connections: how many boards made."""

    def __init__(self, broker_port: int, clock: Callable[[], float]):
        """clock: seconds of the board's time."""
        self._broker_port = broker_port
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self._down: asyncio.StreamWriter | None = None
        self._source: Iterable[tuple[str, bytes, int]] | None = None
        self._rate = 0
        self.published: list[str] = []
        self.sent = self.dropped = self.acknowledged = self.connections = 0
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)

    def flood(self, source: Callable[[], tuple[str, bytes, int]], rate: int) -> None:
        """From now on `rate` messages in each second of the board: source() -> (topic, payload, QoS)."""
        self._make, self._rate = source, rate

    def stop(self) -> None:
        self._rate = 0

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def count(self, topic: str, since: int) -> int:
        """Messages below this topic that the board published after the first `since` of all."""
        return sum(topic in name for name in self.published[since:])

    # ---------------------------------------------------------------- its thread

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        async def start() -> None:
            server = await asyncio.start_server(self._connected, "0.0.0.0", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._pouring = asyncio.create_task(self._pour())
            ready.set()

        self._loop.create_task(start())
        self._loop.run_forever()

    async def _connected(self, board: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        self.connections += 1
        down.transport.set_write_buffer_limits(BACKLOG)
        down.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BACKLOG)
        reader, up = await asyncio.open_connection("127.0.0.1", self._broker_port)
        tasks = [asyncio.create_task(self._copy(board, up, True)), asyncio.create_task(self._copy(reader, down, False))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        self._down = None
        up.close()
        down.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, is_up: bool) -> None:
        try:
            while True:
                head = await source.readexactly(1)
                size = shift = 0
                while True:
                    head += await source.readexactly(1)
                    size |= (head[-1] & 127) << shift
                    shift += 7
                    if head[-1] < 128:
                        break
                body = await source.readexactly(size)
                if is_up and self._swallow(head[0], body):
                    continue
                target.write(head + body)
                if not is_up:
                    self._down = target  # the connection is accepted
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    def _swallow(self, kind: int, body: bytes) -> bool:
        if kind & 0xF0 == PUBACK and body[0] << 8 | body[1] >= FIRST_ID:
            self.acknowledged += 1
            return True
        if kind & 0xF0 == PUBLISH:
            self.published.append(body[2 : 2 + (body[0] << 8 | body[1])].decode())
        return False

    async def _pour(self) -> None:
        number = FIRST_ID
        due: float | None = None  # when the next one is, by the board's clock
        while True:
            await asyncio.sleep(PAUSE_S)
            rate = self._rate
            if not rate or not self._down:
                due = None
                continue
            now = self._clock()
            if due is None or due > now + 1:  # it begins, or the board was reset
                due = now
            while due < now:
                due += 1 / rate
                topic, payload, qos = self._make()
                if self._down.transport.get_write_buffer_size() > BACKLOG:
                    self.dropped += 1
                    continue
                number = number + 1 if number < 65_535 else FIRST_ID
                self._down.write(packet(topic, payload, qos, number))
                self.sent += 1
