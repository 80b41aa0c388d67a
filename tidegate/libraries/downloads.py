"""Downloads of libraries: https only, bounded in bytes, time and number, each address asked once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import httpx

from tidegate.libraries.lockfile import MAX_FILE, LibraryError

DEADLINE_S = 60.0  # for one file
STALL_S = 15.0
MAX_REQUESTS = 600
MAX_REDIRECTS = 5

Tell = Callable[[str], None]


def origin(url: str) -> str:
    """Scheme, host and port of an address. LibraryError for one that is none: descriptions hold what others wrote."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise LibraryError(f"{url!r:.80} is not an address: {error}", "Write it like https://HOST/FILE") from None
    return f"{parts.scheme}://{parts.netloc}"


class Downloads:
    """plain: addresses of http:// that the user named; nothing else is fetched without TLS, not by redirects either."""

    def __init__(self, plain: Iterable[str] = (), tell: Tell = lambda url: None):
        self._plain = {origin(url) for url in plain if url.startswith("http://")}
        self._tell = tell
        self._had: dict[str, bytes] = {}
        self._asked = 0
        self._client = new_client()

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, url: str, what: str) -> bytes:
        """The bytes at `url`, at most MAX_FILE; LibraryError, which names `what`, if they cannot be had."""
        if url not in self._had:
            self._tell(url)
            self._had[url] = self._get(url, what)
        return self._had[url]

    def _get(self, url: str, what: str) -> bytes:
        deadline = time.monotonic() + DEADLINE_S
        address = url
        for _ in range(MAX_REDIRECTS + 1):
            self._check(address, what)
            try:
                with self._client.stream("GET", address) as answer:
                    if answer.next_request is not None:
                        address = str(answer.next_request.url)
                        continue
                    if answer.status_code == 404:
                        raise LibraryError(
                            f"{what}: there is no {address}", "Check the name and the version, or the index"
                        )
                    if answer.status_code != 200:
                        raise LibraryError(f"{what}: {address} answers {answer.status_code}", "Try again later")
                    return self._read(answer, address, what, deadline)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise LibraryError(
                    f"{what}: {address} cannot be reached: {error or type(error).__name__}",
                    "Check the network; what is in the cache already is built without it",
                ) from error
        raise LibraryError(f"{what}: {url} redirects more than {MAX_REDIRECTS} times", "Tell its author")

    def _check(self, url: str, what: str) -> None:
        self._asked += 1
        if self._asked > MAX_REQUESTS:
            raise LibraryError(f"{what}: more than {MAX_REQUESTS} files were asked for", "Require less")
        if not url.startswith("https://") and origin(url) not in self._plain:
            raise LibraryError(f"{what}: {url} has no TLS", "Name an address that begins with https://")

    def _read(self, answer: httpx.Response, url: str, what: str, deadline: float) -> bytes:
        data = bytearray()
        for piece in answer.iter_raw():
            data += piece
            if len(data) > MAX_FILE:
                raise LibraryError(f"{what}: {url} has more than {MAX_FILE} bytes", "Is it a library for boards?")
            if time.monotonic() > deadline:
                raise LibraryError(f"{what}: {url} took longer than {DEADLINE_S:.0f} s", "Try again later")
        return bytes(data)


def new_client() -> httpx.Client:
    return httpx.Client(
        timeout=STALL_S,
        follow_redirects=False,  # each address is checked before it is asked
        headers={"User-Agent": "tidegate", "Accept-Encoding": "identity"},  # the limit counts what arrives
        mounts=dict.fromkeys(("http://127.0.0.1", "http://localhost", "http://[::1]")),  # no proxy to this machine
    )
