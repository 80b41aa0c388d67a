"""Block-wise transfer (RFC 7959) with bounded memory: requests put together, answers cut into blocks."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from aiocoap import Message, numbers
from aiocoap.optiontypes import BlockOption

Block = BlockOption.BlockwiseTuple

LARGEST = 6  # size exponent: 1024 bytes
_MOST_BODIES = 256  # at once
_BODY_S = 93  # MAX_TRANSMIT_WAIT: after that the next block does not come


class Reply(Exception):
    """Ends the request with `response`: it is not carried out, or not yet."""

    def __init__(self, response: Message) -> None:
        super().__init__(response.code)
        self.response = response


class _Body:
    def __init__(self) -> None:
        self.data = bytearray()
        self.until = 0.0


class Bodies:
    """Bodies of requests on their way, at most `most` bytes each; the one that waits longest goes first."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._waiting: OrderedDict[tuple[object, ...], _Body] = OrderedDict()

    def take(self, key: tuple[object, ...], request: Message) -> bytes:
        """The whole body that `request` is, or ends; raises Reply otherwise."""
        block = request.opt.block1
        if block is None:
            self._fits(len(request.payload), None)
            return request.payload
        if block.block_number == 0:
            self._waiting[key] = _Body()
        body = self._waiting.get(key)
        now = self._clock()
        if body is None or body.until < now and block.block_number or len(body.data) != block.start:
            self._waiting.pop(key, None)
            raise Reply(Message(code=numbers.REQUEST_ENTITY_INCOMPLETE, block1=block))
        self._fits(block.start + len(request.payload), block)
        if block.more and len(request.payload) != block.size:
            raise Reply(Message(code=numbers.BAD_REQUEST, block1=block))
        body.data += request.payload
        body.until = now + _BODY_S
        self._waiting.move_to_end(key)
        while len(self._waiting) > _MOST_BODIES:
            self._waiting.popitem(last=False)
        if block.more:
            raise Reply(Message(code=numbers.CONTINUE, block1=block))
        del self._waiting[key]
        return bytes(body.data)

    def _fits(self, size: int, block: Any) -> None:
        if size > self._most:
            response = Message(code=numbers.REQUEST_ENTITY_TOO_LARGE, size1=self._most)
            if block is not None:
                response.opt.block1 = block
            raise Reply(response)


class Source(NamedTuple):
    """Something to be answered with: its size, its name (ETag), and how to read `count` bytes from `offset`."""

    size: int
    etag: bytes
    read: Callable[[int, int], bytes]


def cut(request: Message, source: Source) -> Message:
    """The block of `source` that was requested, or all of it if it fits into one."""
    if request.opt.etags and source.etag in request.opt.etags:
        return Message(code=numbers.VALID, etag=source.etag)
    requested = request.opt.block2
    number, exponent = (requested.block_number, min(requested.size_exponent, LARGEST)) if requested else (0, LARGEST)
    start, size = number << exponent + 4, 1 << exponent + 4
    if requested and requested.size_exponent > LARGEST:  # 7 is for reliable transports (RFC 8323)
        return Message(code=numbers.BAD_REQUEST, payload=b"block size")
    if start >= source.size and number:
        return Message(code=numbers.BAD_REQUEST, payload=b"no such block")
    response = Message(code=numbers.CONTENT, etag=source.etag, payload=source.read(start, size))
    if requested or source.size > size:
        response.opt.block2 = Block(number, start + size < source.size, exponent)
        if number == 0:
            response.opt.size2 = source.size
    return response
