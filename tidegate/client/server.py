"""What the server's HTTP API does, as methods."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.audit_chain import Head
from tidegate.client.alarms import Alarms
from tidegate.client.transport import Http, ServerError
from tidegate.client.waves import Waves
from tidegate.errors import TidegateError

MAX_PAGE = 500  # values in one answer of the server
_MAX_PAGES = 2000  # of one list: a million rows
MAX_DEVICES = 100_000
MAX_AT_ONCE = 500  # devices registered in one request
MAX_ENTRIES = 10_000_000  # of the audit log


class Server:
    """One server at `url`, with the bearer `token`. Use it in a `with` statement.

    ca, insecure: see transport.Http. Nothing is retried here: every call does what it says or raises ServerError. Each
    answer has the shape that the verb names (shapes/), or the call fails.
    """

    def __init__(self, url: str, token: str, ca: Path | None = None, insecure: bool = False):
        self._http = Http(url, token, ca, insecure)
        self.url = self._http.url
        self.waves = Waves(self._call)
        self.alarms = Alarms(self._call)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def put_payload(self, digest: str, data: bytes) -> None:
        """Store a payload under its SHA-256 (hex). Repeating it is harmless."""
        self._call("PUT", f"/api/v1/payloads/{digest}", "", content=data, kind="application/octet-stream")

    def publish(self, release: Mapping[str, Any]) -> dict[str, Any]:
        """Publish a release whose payloads are stored."""
        return self._call("POST", "/api/v1/releases", "Published", body=release)

    def put_sbom(self, product: str, version: str, document: bytes, signature: bytes) -> bool:
        """Store the SBOM of a release that is published; False if the server knows no SBOMs. Repeating is harmless."""
        parts = {"document": document, "signature": signature}
        body = {name: base64.b64encode(data).decode("ascii") for name, data in parts.items()}
        path = f"/api/v1/releases/{_segment(product)}/{_segment(version)}/sbom"
        try:
            self._call("PUT", path, "Map", body=body)
        except ServerError as error:
            if error.status in (404, 405):
                return False
            raise
        return True

    def sbom(self, product: str, version: str) -> dict[str, Any]:
        """The SBOM of a release and its signature, both in base64."""
        path = f"/api/v1/releases/{_segment(product)}/{_segment(version)}/sbom"
        return self._call("GET", path, "Sbom")

    def plan_release(self, release: Mapping[str, Any]) -> dict[str, Any]:
        """What publishing the release would do: the payloads that are missing, and what devices would get."""
        return self._call("POST", "/api/v1/releases/plan", "ReleasePlan", body=release)

    def fetch_releases(self, product: str, limit: int, before: int = 0, version: str | None = None) -> Any:
        """The newest releases of a product with envelopes, newest first; `before`: only lower sequence numbers."""
        params: dict[str, Any] = {"limit": limit, "before": before, **({"version": version} if version else {})}
        path = f"/api/v1/releases/{_segment(product)}/fetch"
        return self._call("GET", path, "FetchedReleases", params=params)["releases"]

    def payload(self, digest: str) -> bytes:
        """A payload's bytes, its digest checked."""
        data = self._call("GET", f"/p/{_segment(digest)}", "", raw=True)
        if hashlib.sha256(data).hexdigest() != digest:
            raise ServerError(f"payload {digest} came with other bytes", "Try again; is a proxy changing them?")
        return data

    def groups(self) -> dict[str, Any]:
        """All groups, and the digest of their state, which a change refers to."""
        return self._call("GET", "/api/v1/groups", "Groups")

    def change_groups(
        self, seen: str | None, groups: Mapping[str, Mapping[str, Any]], devices: Mapping[str, str]
    ) -> dict[str, Any]:
        """Change groups and the groups of devices: all of it, or nothing if the groups changed since digest `seen`."""
        body = {"seen": seen, "groups": groups, "devices": devices}
        return self._call("POST", "/api/v1/groups", "Groups", body=body)

    def rollouts(self, product: str | None = None) -> list[dict[str, Any]]:
        params = {"product": product} if product else None
        return self._call("GET", "/api/v1/rollouts", "Rollouts", params=params)["rollouts"]

    def rollout(self, product: str, version: str) -> dict[str, Any]:
        """How far a release has come, device by device, those in trouble first."""
        path, devices, after = f"/api/v1/rollouts/{_segment(product)}/{_segment(version)}", [], None
        for _ in range(_MAX_PAGES):
            params = {"limit": MAX_PAGE} | ({"after": after} if after else {})
            answer = self._call("GET", path, "Rollout", params=params)
            devices += answer["devices"]
            after = answer.pop("next", None)
            if after is None:
                break
        return {**answer, "devices": devices}

    def change_rollout(self, act: str, product: str, version: str, where: Mapping[str, str]) -> dict[str, Any]:
        """`act`: plan, start or stop; `where`: {"channel": name} or {"group": name}."""
        path = f"/api/v1/rollouts/{_segment(product)}/{_segment(version)}/{act}"
        return self._call("POST", path, "RolloutPlan" if act == "plan" else "ChangedRollout", body=dict(where))

    def retry_rollout(self, product: str, version: str) -> dict[str, Any]:
        """Offer the release again where it failed; the rollout's status, and the devices in "retried"."""
        return self._call("POST", f"/api/v1/rollouts/{_segment(product)}/{_segment(version)}/retry", "ChangedRollout")

    def publish_data(self, release: Mapping[str, Any], *, hold: bool = False) -> dict[str, Any]:
        """Publish a data release whose file is stored; with `hold` only rollouts in waves offer it."""
        body = {**release, "hold": True} if hold else release  # older servers do not know the word
        return self._call("POST", "/api/v1/data", "PublishedData", body=body)

    def data(self) -> Any:
        return self._call("GET", "/api/v1/data", "Map")

    def publish_trust(self, update: bytes, *, hold: bool = False) -> dict[str, Any]:
        """Publish a signed trust update; with `hold` only rollouts in waves hand it out. Repeating it is harmless."""
        body: dict[str, Any] = {"update": base64.b64encode(update).decode("ascii"), **({"hold": True} if hold else {})}
        return self._call("POST", "/api/v1/trust", "PublishedTrust", body=body)

    def trust(self) -> dict[str, Any]:
        """The server's trust store and the versions it can hand to devices."""
        return self._call("GET", "/api/v1/trust", "Map")

    def releases(self) -> Any:
        return self._call("GET", "/api/v1/releases", "Map")

    def sign_in_ticket(self) -> tuple[str, int]:
        """What signs a browser in at /sign-in in place of the token, once, and for how many seconds."""
        answer = self._call("POST", "/api/v1/sign-in-tickets", "Ticket")
        return answer["ticket"], answer["seconds"]

    def devices(self) -> dict[str, Any]:
        """All devices, {"devices": [...]}, however many pages they take."""
        found: dict[str, dict[str, Any]] = {}
        path, after = "/api/v1/devices", ""
        while page := self._call("GET", path, "Devices", params={"after": after})["devices"]:
            after = page[-1]["id"]
            if len(found.keys() | {entry["id"] for entry in page}) != len(found) + len(page):
                raise self._http.wrong(f"GET {path}", "it has a device twice")
            found |= {entry["id"]: entry for entry in page}
            if len(found) > MAX_DEVICES:
                raise self._http.wrong(f"GET {path}", f"there are more than {MAX_DEVICES} devices")
        return {"devices": list(found.values())}

    def device(self, device: str) -> dict[str, Any]:
        return self._call("GET", f"/api/v1/devices/{_segment(device)}", "WholeDevice")

    def add_device(self, device: str, board: str, product: str) -> dict[str, Any]:
        """Register a device; the answer holds its MQTT password, which is shown this once."""
        body = {"id": device, "board": board, "product": product}
        return self._call("POST", "/api/v1/devices", "NewDevice", body=body)

    def add_devices(self, request: str, devices: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Register at most MAX_AT_ONCE devices, each with id, board and product: all of them, or none.

        request: 32 hex digits at random; the same list and request give the same answer again, until a device was
        heard. The answer: new "devices" with their secrets, and the ids of those that were "known".
        """
        body = {"request": request, "devices": [dict(one) for one in devices]}
        return self._call("POST", "/api/v1/devices/batch", "NewDevices", body=body)

    def new_claim(self, claim: Mapping[str, Any]) -> dict[str, Any]:
        """Make a claim; `claim` may have device, group, name, board, product and expires_s. Its secret, "claim" in the
        answer, is never shown again."""
        return self._call("POST", "/api/v1/claims", "NewClaim", body=dict(claim))

    def claims(self, limit: int | None = None) -> dict[str, Any]:
        """Newest first."""
        return self._call("GET", "/api/v1/claims", "Claims", params=_limit(limit))

    def revoke_claim(self, claim: str) -> dict[str, Any]:
        return self._call("DELETE", f"/api/v1/claims/{_segment(claim)}", "RevokedClaim")

    def revoke_device(self, device: str) -> dict[str, Any]:
        return self._call("POST", f"/api/v1/devices/{_segment(device)}/revoke", "Device")

    def rename_device(self, device: str, name: str | None) -> dict[str, Any]:
        """None takes the name away."""
        return self._call("PATCH", f"/api/v1/devices/{_segment(device)}", "Device", body={"name": name})

    def change_product(self, device: str, board: str, product: str) -> dict[str, Any]:
        """Put right what the device was registered as."""
        path = f"/api/v1/devices/{_segment(device)}/product"
        return self._call("PUT", path, "Device", body={"board": board, "product": product})

    def telemetry(self, device: str, query: Mapping[str, str], limit: int) -> Iterator[dict[str, Any]]:
        """At most `limit` values, newest first, however many pages they take. `query`: stream, name, since, until."""
        params: dict[str, Any] = dict(query)
        path = f"/api/v1/devices/{_segment(device)}/telemetry"
        while limit > 0:
            params["limit"] = min(limit, MAX_PAGE)
            page = self._call("GET", path, "Telemetry", params=params)
            values, cursor = page["telemetry"], page["next"]
            if len(values) > params["limit"] or cursor is not None and (not values or cursor == params.get("cursor")):
                raise self._http.wrong(f"GET {path}", "its pages do not go forward")
            yield from values
            limit -= len(values)
            if cursor is None:
                return
            params["cursor"] = cursor

    def telemetry_after(self, device: str, query: Mapping[str, str], row: int) -> list[dict[str, Any]]:
        """A page of the values that arrived after the one with this id, in order of arrival."""
        params = {**query, "after": row, "limit": MAX_PAGE}
        path = f"/api/v1/devices/{_segment(device)}/telemetry"
        values: list[dict[str, Any]] = self._call("GET", path, "Telemetry", params=params)["telemetry"]
        if len(values) > MAX_PAGE or any(value["id"] <= row for value in values):
            raise self._http.wrong(f"GET {path}", f"it has other values than those after {row}")
        return values

    def telemetry_last(self, device: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The newest value of each measurement, and each stream's counts."""
        return self._call("GET", f"/api/v1/devices/{_segment(device)}/telemetry/last", "LastTelemetry", params=query)

    def timeline(self, device: str, kinds: Iterable[str], limit: int, before: str | None = None) -> dict[str, Any]:
        """A page of what happened to the device, newest first; `since` in it is for `timeline_after`."""
        params = _given(kind=",".join(kinds) or None, limit=limit, before=before)
        return self._call("GET", f"/api/v1/devices/{_segment(device)}/timeline", "Timeline", params=params)

    def timeline_after(self, device: str, kinds: Iterable[str], since: str) -> dict[str, Any]:
        """What happened after the place `since`, oldest first; the answer's `since` is where to go on."""
        params = _given(kind=",".join(kinds) or None, limit=MAX_PAGE, since=since)
        path = f"/api/v1/devices/{_segment(device)}/timeline"
        answer = self._call("GET", path, "Timeline", params=params)
        if answer["since"] is None or (answer["timeline"] and answer["since"] == since):
            raise self._http.wrong(f"GET {path}", "it does not say where to go on")
        return answer

    def records(self, device: str, kind: str, limit: int | None = None) -> Any:
        """A device's "reports" or "telemetry", newest first."""
        shape = {"reports": "Reports", "telemetry": "Telemetry"}[kind]
        return self._call("GET", f"/api/v1/devices/{_segment(device)}/{kind}", shape, params=_limit(limit))

    def witness(self, head: Head) -> None:
        """Note the head of the server's audit log (transport.Http.witness)."""
        self._http.witness(head)

    def audit(self) -> Iterator[dict[str, Any]]:
        """The server's audit log, oldest entry first, however many pages it takes."""
        path, after, count = "/api/v1/audit", 0, 0
        while True:
            page = self._call("GET", path, "Audit", params={"since": after, "limit": MAX_PAGE})["entries"]
            for entry in page:
                if entry["id"] <= after:
                    raise self._http.wrong(f"GET {path}", f"entry {entry['id']} comes after entry {after}")
                after, count = entry["id"], count + 1
                yield entry
            if len(page) < MAX_PAGE:
                return
            if count > MAX_ENTRIES:
                raise self._http.wrong(f"GET {path}", f"there are more than {MAX_ENTRIES} entries")

    def status(self) -> dict[str, Any]:
        return self._call("GET", "/api/v1/status", "Map")

    def send_command(self, device: str, message: bytes) -> dict[str, Any]:
        """Hand a signed command to the server, which relays it unchanged."""
        body = {"command": base64.b64encode(message).decode("ascii")}
        return self._call("POST", f"/api/v1/devices/{_segment(device)}/commands", "Command", body=body)

    def command(self, cti: str, device: str | None = None) -> dict[str, Any]:
        """State, history and output of the command with this counter (hex); `device`, where two have the same."""
        return self._call("GET", f"/api/v1/commands/{_segment(cti)}", "Command", params=_given(device=device))

    def commands(self, limit: int, **filters: str | None) -> dict[str, Any]:
        """Newest first. `filters`: device, group, state."""
        return self._call("GET", "/api/v1/commands", "Commands", params=_given(limit=limit, **filters))

    def cancel_command(self, cti: str, device: str | None = None) -> dict[str, Any]:
        """Withdraw a command that has not been sent to the device yet."""
        return self._call("POST", f"/api/v1/commands/{_segment(cti)}/cancel", "Command", params=_given(device=device))

    def opcodes(self, device: str) -> dict[str, Any]:
        """The device's last answer to `ops`: {"asked": command or null}."""
        return self._call("GET", f"/api/v1/devices/{_segment(device)}/opcodes", "Asked")

    def _call(self, method: str, path: str, shape: str, **rest: Any) -> Any:
        return self._http.call(method, path, shape, **rest)


def _segment(text: str) -> str:
    """`text` as one segment of a path, so that a name cannot lead elsewhere."""
    if not text or len(text) > 64 or not all(c.isalnum() and c.isascii() or c in "-_.+" for c in text):
        raise TidegateError(f"{text!r} is not a name that the server could have", "Check the spelling")
    return text


def _limit(limit: int | None) -> dict[str, int] | None:
    return None if limit is None else {"limit": limit}


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
