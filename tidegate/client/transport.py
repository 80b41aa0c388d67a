"""One HTTP request and its answer, within bounds of time and size, and whatever is wrong with it as one sentence."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tidegate import audit_chain, json_text
from tidegate.client import plain_addresses
from tidegate.errors import TidegateError
from tidegate.visible import visible

TIMEOUT = 30.0  # s for each read or write
CONNECT_TIMEOUT = 5.0  # s
CALL_TIMEOUT = 120.0  # s for a whole call with its answer, however steadily it drips
PAYLOAD_TIMEOUT = 900.0  # s for one that carries a payload
MAX_ANSWER = 8 * 1024 * 1024
MAX_TEXT = 1000  # characters of an error that the server words
_ADDRESS = "Write it like http://127.0.0.1:8080"
_IS_IT = "Is it a Tidegate server of this version? Check the address"
_CERTIFICATES = (  # what OpenSSL says -> (what is wrong, the remedy)
    ("certificate has expired", "its certificate has expired", "Renew it there: `tidegate tls server`"),
    ("certificate is not yet valid", "its certificate is not valid yet", "Check this machine's clock"),
    ("Hostname mismatch", "its certificate is for another name", "Use the name in the certificate as address"),
    ("IP address mismatch", "its certificate is for another address", "Use the name in the certificate as address"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate's authority is unknown", "Name the authority's certificate (PEM)"
     " in TIDEGATE_CA"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS there", "Write http:// or use the port that speaks https"),
    ("UNSUPPORTED_PROTOCOL", "it speaks too old a TLS", "Let it speak TLS 1.2 or 1.3"),
    ("CERTIFICATE_REQUIRED", "it wants a certificate of this machine, which the API never does", "Check the port"),
)  # fmt: skip


class ServerError(TidegateError):
    """The server refused a request or gave no usable answer; `status` is the HTTP status, 0 if there is none."""

    def __init__(self, message: str, remedy: str = "", status: int = 0):
        super().__init__(message, remedy)
        self.status = status


class Http:
    """Requests to the server at `url` with the bearer `token`, which goes to no other address.

    ca: PEM file of the authority behind an https server; default: TIDEGATE_CA, else those that the system trusts.
    insecure: send the token over http:// to another machine, and remember that for this address.
    """

    def __init__(self, url: str, token: str, ca: Path | None = None, insecure: bool = False):
        parts = _address(url)
        self.url = str(parts).rstrip("/")
        plain_addresses.check(self.url, parts.scheme, parts.host, insecure)
        here = plain_addresses.is_here(parts.host)
        # To read the system's authorities takes as long as all else of a quick verb.
        plain = parts.scheme == "http" and here and not _named(ca)
        self._ca = ca
        try:
            self._client = httpx.Client(
                base_url=self.url,
                headers={
                    "Authorization": f"Bearer {token}",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",  # what is packed may be a thousand times as long unpacked
                },
                timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else self._authorities,
                follow_redirects=False,  # a token goes to the address it was given for, nowhere else
                # Not by a proxy to this machine itself: it would carry the token in the clear to another one.
                trust_env=not here,
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise TidegateError(
                f"a proxy that the environment names cannot be used: {visible(str(error))[:MAX_TEXT]}",
                "Correct http_proxy, https_proxy, all_proxy and no_proxy, or unset them",
            ) from error
        self._socket: socket.socket | None = None

    @functools.cached_property
    def _authorities(self) -> ssl.SSLContext:
        return _authorities(self._ca)

    def close(self) -> None:
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        shape: str,
        *,
        body: Any = None,
        content: bytes | None = None,
        kind: str | None = None,
        params: Mapping[str, Any] | None = None,
        raw: bool = False,
    ) -> Any:
        """The answer, checked to be of `shape` (see shapes/; "" for one that is not looked at); bytes if `raw`."""
        what = f"{method} {path}"
        if body is not None:
            content, kind = json.dumps(body, allow_nan=False).encode(), "application/json"
        deadline = _Deadline(self, PAYLOAD_TIMEOUT if raw or method == "PUT" else CALL_TIMEOUT)
        try:
            request = self._client.build_request(
                method,
                path,
                content=content,
                headers={"Content-Type": kind} if kind else None,
                params=params,
                extensions={"trace": self._note},
            )
            with deadline:
                answer = self._client.send(request, stream=True)
                try:
                    data = self._read(answer, what)
                finally:
                    answer.close()
                if raw and answer.status_code in (302, 307) and answer.has_redirect_location:
                    answer, data = self._elsewhere(answer.url.join(answer.headers["Location"]), what)
        except httpx.TimeoutException as error:
            raise ServerError(f"the server at {self.url} did not answer in time", self._later) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            if deadline.is_over:
                raise self._late() from error
            raise self._unreachable(error, what) from error
        if deadline.is_over:  # the end of the body looks like its end where its length was not said
            raise self._late()
        if not answer.is_success:
            raise self._problem(answer, data, what)
        head = audit_chain.parse_header(answer.headers.get("Tidegate-Audit", ""))
        if head is not None:
            self.witness(head)
        return data if raw else self._decoded(data, shape, what)

    @property
    def _later(self) -> str:
        """What to do when nothing came; a server without TLS hears nothing that it understands."""
        if self._client.base_url.scheme == "https":
            return "Try again; if that server has no TLS, its address begins with http://"
        return "Try again"

    def witness(self, head: audit_chain.Head) -> None:
        """Note the head of the server's audit log: in TIDEGATE_WITNESS, else in the user's own file of this server.

        A server on this machine comes and goes at one address, and whoever owns it can write the user's files as well:
        its heads are noted only where the variable says so.
        """
        file = os.environ.get(audit_chain.WITNESS)
        if file or not plain_addresses.is_here(self._client.base_url.host):
            audit_chain.note(self.url, head, Path(file) if file else None)

    def wrong(self, what: str, why: str) -> ServerError:
        """The error that an answer to `what` (method and path) is not as it must be."""
        return ServerError(f"{self.url} gave a wrong answer to {what}: {why}", _IS_IT)

    def _elsewhere(self, url: httpx.URL, what: str) -> tuple[httpx.Response, bytes]:
        """What a store of payloads has at `url`, where the server sends us; without the token. Its digest is checked by
        whoever knows it."""
        limits = httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
        with (
            httpx.Client(timeout=limits, verify=self._authorities) as client,
            client.stream(
                "GET", url, headers={"Accept-Encoding": "identity"}, extensions={"trace": self._note}
            ) as answer,
        ):
            return answer, self._read(answer, what)

    def _read(self, answer: httpx.Response, what: str) -> bytes:
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise self.wrong(what, "it is packed, which was not asked for")
        data = bytearray()
        for piece in answer.iter_raw():
            data += piece
            if len(data) > MAX_ANSWER:
                raise self.wrong(what, f"it is longer than {MAX_ANSWER} bytes")
        return bytes(data)

    def _decoded(self, data: bytes, shape: str, what: str) -> Any:
        if not shape and not data:
            return None
        try:
            value = json_text.loads(data)
        except json_text.NotJson as error:
            raise self.wrong(what, f"it {error}") from error
        if shape:
            from tidegate.client import shapes  # it loads pydantic, which only answers need

            why = shapes.why_not(value, shape)
            if why is not None:
                raise self.wrong(what, why)
            return shapes.completed(value, shape)
        return value

    def _problem(self, answer: httpx.Response, data: bytes, what: str) -> ServerError:
        """The error in an application/problem+json answer (RFC 9457), or in one that has none."""
        status = answer.status_code
        if 300 <= status < 400:
            to = visible(answer.headers.get("Location", "nowhere"))[:MAX_TEXT]
            return ServerError(
                f"{self.url} answered {what} with a redirect to {to}, which is not followed: it would get the token",
                "Give that address yourself (--server, TIDEGATE_SERVER) if you trust it",
                status,
            )
        try:
            facts = json_text.loads(data)
        except json_text.NotJson:
            facts = None
        facts = facts if isinstance(facts, dict) else {}
        texts = [facts.get(name) for name in ("detail", "title", "remedy")]
        detail, title, remedy = (visible(text)[:MAX_TEXT] if isinstance(text, str) else "" for text in texts)
        said = detail or title
        if not said:
            said = f"{self.url} answered {what} with status {status}, and no reason"
            remedy = remedy or _IS_IT
        elif status == 401:  # the server's own remedy is for programs, which send headers
            remedy = f"Name a token of that server: --token-file, or tidegate login {self.url}"
        return ServerError(said.rstrip("."), remedy, status)

    def _late(self) -> ServerError:
        return ServerError(f"the server at {self.url} did not end its answer in time", "Try again")

    def _unreachable(self, error: Exception, what: str) -> ServerError:
        said = visible(str(error))[:MAX_TEXT]
        if isinstance(error, (UnicodeError, httpx.InvalidURL)):
            return ServerError(f"{what} cannot be asked of {self.url}: {said}", "Check the spelling")
        for sign, why, remedy in _CERTIFICATES:
            if sign in said:
                return ServerError(f"the server at {self.url} is not trusted: {why} ({said})", remedy)
        if isinstance(error, (httpx.RemoteProtocolError, httpx.DecodingError)):
            remedy = "Try again; is it a Tidegate server, and should the address begin with https://?"
            return ServerError(f"the answer of {self.url} to {what} is broken or cut off: {said}", remedy)
        return ServerError(
            f"the server at {self.url} cannot be reached: {said}",
            "Check the address and that `tidegate serve` runs there",
        )

    def _note(self, event: str, facts: Mapping[str, Any]) -> None:
        """Remember the connection's socket, which the deadline shuts."""
        if event in ("connection.connect_tcp.complete", "proxy.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = facts["return_value"].get_extra_info("socket") or self._socket

    def shut(self) -> None:
        """End the connection under way, from another thread: its reads and writes fail at once."""
        found = self._socket
        if found is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(found, socket.SHUT_RDWR)  # not TLS's, which would talk first


class _Deadline:
    """Shuts the connection when a call has taken `seconds`; `is_over` says whether it did."""

    def __init__(self, http: Http, seconds: float):
        self._http = http
        self._end = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, http.shut)
        self._timer.daemon = True

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()


def _address(url: str) -> httpx.URL:
    try:
        parts = httpx.URL(url if "://" in url else f"http://{url}")
        parts.host  # noqa: B018 - decodes the name, or says why not
    except (httpx.InvalidURL, ValueError) as error:
        raise TidegateError(f"{visible(url)!r} is not an HTTP address: {error}", _ADDRESS) from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise TidegateError(f"{visible(url)!r} is not an HTTP address", _ADDRESS)
    if parts.userinfo or parts.query or parts.fragment:
        raise TidegateError("an address has no user, password, query or fragment", _ADDRESS)
    return parts


def _named(given: Path | None) -> Path | str | None:
    """The file of authorities that somebody named."""
    return given or os.environ.get("TIDEGATE_CA")


def _authorities(given: Path | None) -> ssl.SSLContext:
    """The authorities that TLS trusts: those given, else those in TIDEGATE_CA, else the system's."""
    ca = _named(given)
    if not ca:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise TidegateError(
            f"the authority's certificate {ca} cannot be used: {error.strerror or error}",
            "Name a PEM file in TIDEGATE_CA, or unset it",
        ) from error
