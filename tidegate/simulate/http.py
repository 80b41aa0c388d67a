"""One HTTP/1.1 request on a connection of its own, as a board makes it: a part of a payload, or a small API call."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 60
_MOST_HEAD = 16_384  # bytes
_PIECE = 16_384


class HttpError(Exception):
    """The answer cannot be used; the text is short, for counting by kind."""


@dataclass(frozen=True)
class Site:
    """A server's address; `path` is what comes before the paths of requests."""

    host: str
    port: int
    path: str = ""
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, url: str, tls: ssl.SSLContext | None = None) -> Site:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return cls(parts.hostname or "", port, parts.path.rstrip("/"), tls if secure else None)


@dataclass
class Answer:
    """total: bytes of the whole resource; body: what came of it; whole: whether all that was announced came."""

    status: int
    total: int
    body: bytes
    whole: bool


async def get(site: Site, path: str, first: int = 0, stop_after: int | None = None, token: str | None = None) -> Answer:
    """GET, from byte `first` on. stop_after: end the connection after so many bytes, as a bad link does.

    Raises OSError, TimeoutError or HttpError.
    """
    fields = [f"Range: bytes={first}-"] if first else []
    return await request(site, "GET", path, fields, b"", token, stop_after)


async def post(site: Site, path: str, kind: str, body: bytes) -> Answer:
    return await request(site, "POST", path, [f"Content-Type: {kind}", f"Content-Length: {len(body)}"], body)


async def request(
    site: Site,
    method: str,
    path: str,
    fields: list[str],
    body: bytes,
    token: str | None = None,
    stop_after: int | None = None,
) -> Answer:
    head = [f"{method} {site.path}{path} HTTP/1.1", f"Host: {site.host}:{site.port}", "Connection: close", *fields]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(site.host, site.port, ssl=site.tls)
        try:
            writer.write("\r\n".join([*head, "", ""]).encode() + body)
            return await _answer(reader, stop_after)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader, stop_after: int | None) -> Answer:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise HttpError("no answer") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        status = int(first.split(" ", 2)[1])
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(fields.get("content-length", "-1"))
        total = int(fields["content-range"].rpartition("/")[2]) if "content-range" in fields else length
    except (ValueError, IndexError) as error:
        raise HttpError("malformed answer") from error
    body = bytearray()
    while length < 0 or len(body) < length:
        piece = await reader.read(_PIECE)
        if not piece:
            break
        body += piece
        if stop_after is not None and len(body) >= stop_after:
            return Answer(status, total, bytes(body[:stop_after]), False)
    return Answer(status, total, bytes(body), length < 0 or len(body) == length)
