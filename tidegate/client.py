"""Client of the server's HTTP API."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tidegate.errors import TidegateError
from tidegate.files import read_limited

TIMEOUT = 30.0  # s for each read or write
CONNECT_TIMEOUT = 5.0  # s
MAX_ANSWER = 8 * 1024 * 1024
MAX_TOKEN = 512
_ADDRESS = "Write it like http://127.0.0.1:8080"
MAX_PAGE = 500  # values in one answer of the server


class ServerError(TidegateError):
    """The server refused a request or gave no usable answer; `status` is the HTTP status, 0 if there is none."""

    def __init__(self, message: str, remedy: str = "", status: int = 0):
        super().__init__(message, remedy)
        self.status = status


class Server:
    """One server at `url`, with the bearer `token`. Use it in a `with` statement.

    ca: PEM file of the authority behind an https server; default: TIDEGATE_CA, else those that the system trusts.

    Nothing is retried here: every call does what it says or raises ServerError.
    """

    def __init__(self, url: str, token: str, ca: Path | None = None):
        try:
            parts = httpx.URL(url if "://" in url else f"http://{url}")
        except httpx.InvalidURL as error:
            raise TidegateError(f"{url!r} is not an HTTP address: {error}", _ADDRESS) from None
        if parts.scheme not in ("http", "https") or not parts.host:
            raise TidegateError(f"{url!r} is not an HTTP address", _ADDRESS)
        self.url = str(parts).rstrip("/")
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
            verify=_authorities(ca),
            follow_redirects=False,  # a token goes to the address it was given for, nowhere else
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def put_payload(self, digest: str, data: bytes) -> None:
        """Store a payload under its SHA-256 (hex). Repeating it is harmless."""
        self._call("PUT", f"/api/v1/payloads/{digest}", content=data, kind="application/octet-stream")

    def publish(self, release: Mapping[str, Any]) -> dict[str, Any]:
        """Publish a release whose payloads are stored."""
        return self._call("POST", "/api/v1/releases", body=release)

    def plan_release(self, release: Mapping[str, Any]) -> dict[str, Any]:
        """What publishing the release would do: the payloads that are missing, and what devices would get."""
        return self._call("POST", "/api/v1/releases/plan", body=release)

    def fetch_releases(self, product: str, limit: int, before: int = 0, version: str | None = None) -> Any:
        """The newest releases of a product with envelopes, newest first; `before`: only lower sequence numbers."""
        params: dict[str, Any] = {"limit": limit, "before": before, **({"version": version} if version else {})}
        answer = self._call("GET", f"/api/v1/releases/{_segment(product)}/fetch", params=params)
        return answer.get("releases") if isinstance(answer, dict) else None

    def payload(self, digest: str) -> bytes:
        """A payload's bytes, its digest checked."""
        data = self._call("GET", f"/p/{_segment(digest)}", raw=True)
        if hashlib.sha256(data).hexdigest() != digest:
            raise ServerError(f"payload {digest} came with other bytes", "Try again; is a proxy changing them?")
        return data

    def groups(self) -> dict[str, Any]:
        """All groups, and the digest of their state, which a change refers to."""
        return self._call("GET", "/api/v1/groups")

    def change_groups(
        self, seen: str | None, groups: Mapping[str, Mapping[str, Any]], devices: Mapping[str, str]
    ) -> dict[str, Any]:
        """Change groups and the groups of devices: all of it, or nothing if the groups changed since digest `seen`."""
        body = {"seen": seen, "groups": groups, "devices": devices}
        return self._call("POST", "/api/v1/groups", body=body)

    def rollouts(self, product: str | None = None) -> list[dict[str, Any]]:
        params = {"product": product} if product else None
        return self._call("GET", "/api/v1/rollouts", params=params)["rollouts"]

    def rollout(self, product: str, version: str) -> dict[str, Any]:
        """How far a release has come, device by device."""
        return self._call("GET", f"/api/v1/rollouts/{_segment(product)}/{_segment(version)}")

    def change_rollout(self, act: str, product: str, version: str, where: Mapping[str, str]) -> dict[str, Any]:
        """`act`: plan, start or stop; `where`: {"channel": name} or {"group": name}."""
        path = f"/api/v1/rollouts/{_segment(product)}/{_segment(version)}/{act}"
        return self._call("POST", path, body=dict(where))

    def publish_data(self, release: Mapping[str, Any]) -> dict[str, Any]:
        """Publish a data release whose file is stored."""
        return self._call("POST", "/api/v1/data", body=release)

    def data(self) -> Any:
        return self._call("GET", "/api/v1/data")

    def publish_trust(self, update: bytes) -> dict[str, Any]:
        """Publish a signed trust update. Repeating it is harmless."""
        return self._call("POST", "/api/v1/trust", body={"update": base64.b64encode(update).decode("ascii")})

    def trust(self) -> dict[str, Any]:
        """The server's trust store and the versions it can hand to devices."""
        return self._call("GET", "/api/v1/trust")

    def releases(self) -> Any:
        return self._call("GET", "/api/v1/releases")

    def devices(self) -> dict[str, Any]:
        """All devices, {"devices": [...]}, however many pages they take."""
        found: list[dict[str, Any]] = []
        while page := self._call("GET", "/api/v1/devices", params={"after": found[-1]["id"] if found else ""})[
            "devices"
        ]:
            found += page
        return {"devices": found}

    def device(self, device: str) -> dict[str, Any]:
        return self._call("GET", f"/api/v1/devices/{_segment(device)}")

    def add_device(self, device: str, board: str, product: str) -> dict[str, Any]:
        """Register a device; the answer holds its MQTT password, which is shown this once."""
        return self._call("POST", "/api/v1/devices", body={"id": device, "board": board, "product": product})

    def new_claim(self, claim: Mapping[str, Any]) -> dict[str, Any]:
        """Make a claim; `claim` may have device, group, name, board, product and expires_s. Its secret, "claim" in the
        answer, is never shown again."""
        return self._call("POST", "/api/v1/claims", body=dict(claim))

    def claims(self, limit: int | None = None) -> dict[str, Any]:
        """Newest first."""
        return self._call("GET", "/api/v1/claims", params=_limit(limit))

    def revoke_claim(self, claim: str) -> dict[str, Any]:
        return self._call("DELETE", f"/api/v1/claims/{_segment(claim)}")

    def revoke_device(self, device: str) -> dict[str, Any]:
        return self._call("POST", f"/api/v1/devices/{_segment(device)}/revoke")

    def rename_device(self, device: str, name: str | None) -> dict[str, Any]:
        """None takes the name away."""
        return self._call("PATCH", f"/api/v1/devices/{_segment(device)}", body={"name": name})

    def telemetry(self, device: str, query: Mapping[str, str], limit: int) -> Iterator[dict[str, Any]]:
        """At most `limit` values, newest first, however many pages they take. `query`: stream, name, since, until."""
        params: dict[str, Any] = dict(query)
        while limit > 0:
            params["limit"] = min(limit, MAX_PAGE)
            page = self._call("GET", f"/api/v1/devices/{_segment(device)}/telemetry", params=params)
            yield from page["telemetry"]
            limit -= len(page["telemetry"])
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def telemetry_after(self, device: str, query: Mapping[str, str], row: int) -> list[dict[str, Any]]:
        """A page of the values that arrived after the one with this id, in order of arrival."""
        params = {**query, "after": row, "limit": MAX_PAGE}
        return self._call("GET", f"/api/v1/devices/{_segment(device)}/telemetry", params=params)["telemetry"]

    def telemetry_last(self, device: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The newest value of each measurement, and each stream's counts."""
        return self._call("GET", f"/api/v1/devices/{_segment(device)}/telemetry/last", params=query)

    def records(self, device: str, kind: str, limit: int | None = None) -> Any:
        """A device's "reports", "telemetry" or "alarms", newest first."""
        return self._call("GET", f"/api/v1/devices/{_segment(device)}/{kind}", params=_limit(limit))

    def alarms(self, limit: int | None = None) -> Any:
        return self._call("GET", "/api/v1/alarms", params=_limit(limit))

    def status(self) -> dict[str, Any]:
        return self._call("GET", "/api/v1/status")

    def send_command(self, device: str, message: bytes) -> dict[str, Any]:
        """Hand a signed command to the server, which relays it unchanged."""
        body = {"command": base64.b64encode(message).decode("ascii")}
        return self._call("POST", f"/api/v1/devices/{_segment(device)}/commands", body=body)

    def command(self, cti: str, device: str | None = None) -> dict[str, Any]:
        """State, history and output of the command with this counter (hex); `device`, where two have the same."""
        return self._call("GET", f"/api/v1/commands/{_segment(cti)}", params=_given(device=device))

    def commands(self, limit: int, **filters: str | None) -> dict[str, Any]:
        """Newest first. `filters`: device, group, state."""
        return self._call("GET", "/api/v1/commands", params=_given(limit=limit, **filters))

    def cancel_command(self, cti: str, device: str | None = None) -> dict[str, Any]:
        """Withdraw a command that has not been sent to the device yet."""
        return self._call("POST", f"/api/v1/commands/{_segment(cti)}/cancel", params=_given(device=device))

    def opcodes(self, device: str) -> dict[str, Any]:
        """The device's last answer to `ops`: {"asked": command or null}."""
        return self._call("GET", f"/api/v1/devices/{_segment(device)}/opcodes")

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | None = None,
        kind: str | None = None,
        params: Mapping[str, Any] | None = None,
        raw: bool = False,
    ) -> Any:
        headers = {"Content-Type": kind} if kind else None
        try:
            request = self._client.build_request(
                method, path, json=body, content=content, headers=headers, params=params
            )
            answer = self._client.send(request, stream=True)
            try:
                content_read = self._read(answer, raw and answer.is_success)
            finally:
                answer.close()
        except httpx.TimeoutException as error:
            raise ServerError(f"the server at {self.url} did not answer in time", "Try again") from error
        except httpx.HTTPError as error:
            untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
            raise ServerError(
                f"the server at {self.url} cannot be reached: {error}",
                "Name its authority's certificate in TIDEGATE_CA"
                if untrusted
                else "Check the address and that `tidegate serve` runs there",
            ) from error
        if answer.is_success:
            return content_read
        raise _problem(answer, content_read)

    def _read(self, answer: httpx.Response, raw: bool) -> Any:
        data = bytearray()
        for piece in answer.iter_bytes():
            data += piece
            if len(data) > MAX_ANSWER:
                raise ServerError(f"the server's answer is longer than {MAX_ANSWER} bytes", "Ask for less")
        if raw:
            return bytes(data)
        if not data:
            return None
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            if not answer.is_success:
                return None
            raise ServerError(f"{self.url} does not answer like a Tidegate server", "Check the address") from error


def _authorities(given: Path | None) -> ssl.SSLContext:
    """The authorities that TLS trusts: those given, else those in TIDEGATE_CA, else the system's."""
    ca = given or os.environ.get("TIDEGATE_CA")
    if not ca:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise TidegateError(
            f"the authority's certificate {ca} cannot be used: {error.strerror or error}",
            "Name a PEM file in TIDEGATE_CA, or unset it",
        ) from error


def read_token(path: Path | str | None) -> str:
    """The bearer token in `path`, or in the file that TIDEGATE_TOKEN_FILE names."""
    path = path or os.environ.get("TIDEGATE_TOKEN_FILE")
    if not path:
        raise TidegateError("no token is given", "Name its file with --token-file or in TIDEGATE_TOKEN_FILE")
    token = read_limited(path, MAX_TOKEN, "token file").decode("ascii", "replace").strip()
    if not token or not token.isprintable() or " " in token or not token.isascii():
        raise TidegateError(f"{path} does not hold a token", "Make one with `tidegate token new`")
    return token


def _problem(answer: httpx.Response, body: Any) -> ServerError:
    """The error in an application/problem+json answer (RFC 9457)."""
    facts = body if isinstance(body, dict) else {}
    title = facts.get("detail") or facts.get("title") or f"the server answered {answer.status_code}"
    remedy = facts.get("remedy") or ""
    return ServerError(str(title).rstrip("."), str(remedy), answer.status_code)


def _segment(text: str) -> str:
    """`text` as one segment of a path, so that a name cannot lead elsewhere."""
    if not text or len(text) > 64 or not all(c.isalnum() and c.isascii() or c in "-_.+" for c in text):
        raise TidegateError(f"{text!r} is not a name that the server could have", "Check the spelling")
    return text


def _limit(limit: int | None) -> dict[str, int] | None:
    return None if limit is None else {"limit": limit}


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
