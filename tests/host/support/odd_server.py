"""A server that answers every route as a Tidegate server does, until a test twists one of its answers."""

from __future__ import annotations

import copy
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tidegate.audit_chain import GENESIS, entry_hash

TIME = "2026-11-29T08:00:00.000Z"
DIGEST = "ab" * 32
DEVICE = {
    "id": "gate-1",
    "name": "hall",
    "board": "qemu_mps2",
    "product": "tidegate-gateway",
    "group": "canary",
    "protocol": "mqtt",
    "online": True,
    "last_seen": TIME,
    "version": "1.0.0",
    "sequence": 1,
    "nonce": "00" * 8,
    "reset_cause": "power",
    "born": TIME,
    "revoked": None,
    "cloned": None,
    "settings": {"log_level": "info"},
    "update": {"phase": "confirmed", "at": 1.5},
    "offer": {"version": "1.0.0", "sequence": 1, "state": "running"},
    "trust": {"version": 1, "newest": 1, "state": "current"},
}
COMMAND = {
    "cti": "00" * 8,
    "device": "gate-1",
    "opcode": "ops",
    "state": "confirmed",
    "outcome": "done",
    "why": None,
    "nonce": "00" * 8,
    "ended": TIME,
    "result": {"answer": {"ping": ["any", 5, False, {"n": ["int", 0, 9, 1]}]}},
    "history": [{"state": "confirmed", "by": "device gate-1", "at": TIME, "why": None}],
    "output": '{"mem": ["any", 5, false, {}]}\n',
    "missing_parts": [],
    "output_size": 31,
}
MUTE = {"id": 1, "kind": "crash", "device": None, "until": TIME, "created": TIME, "by": "token:1:x", "why": None}
ALARM = {
    "id": 7,
    "time": TIME,
    "device": "gate-1",
    "kind": "crash",
    "reason": "error",
    "detail": "x",
    "trace": "a\n  b",
}
GROUP = {
    "name": "canary",
    "channel": "stable",
    "release": {"product": "tidegate-gateway", "version": "1.0.0", "sequence": 1},
    "settings": {"log_level": "info"},
    "devices": 1,
}
FATE = {
    "board": "qemu_mps2",
    "group": "canary",
    "version": "1.0.0",
    "devices": 1,
    "gets": "patch",
    "bytes": 9,
    "why": None,
    "ids": ["gate-1"],
}
ROLLOUT = {
    "product": "tidegate-gateway",
    "version": "1.0.0",
    "sequence": 1,
    "channels": ["stable"],
    "groups": [],
    "counts": {"waiting": 0, "offered": 0, "running": 1, "failed": 0, "none": 0},
    "devices": [{"id": "gate-1", "state": "running", "group": "canary"}],
    "started": True,
    "retried": ["gate-1"],
    "stopped": True,
}
WAVES = {
    "product": "tidegate-gateway",
    "version": "1.0.0",
    "sequence": 1,
    "state": "running",
    "why": "wave 1 of 2 (1%): soaks for 2 h more",
    "wave": 1,
    "terms": {"to": "all", "max_failures": "2%"},
    "waves": [{"wave": 1, "size": "1%", "open": True, "counts": {"confirmed": 1}}],
    "counts": {"confirmed": 1, "excused": 1},
    "failed": 0,
    "sample": 1,
    "health": [{"text": "heap<10%: 3 pairs"}],
    "started": True,
}
WAVES_PLAN = {
    "waves": [{"wave": 1, "size": "1%", "devices": 1}, {"wave": 2, "size": "100%", "devices": 0}],
    "rows": [{**FATE, "wave": 1}],
    "excused": {"it runs it": 2},
    "beyond": 1,
}
BUDGET = {
    "product": "tidegate-gateway",
    "slo": "1%/30d",
    "failed": 1,
    "ended": 30,
    "spent": False,
    "frozen": False,
    "lifted_until": None,
    "why": "the error budget 1%/30d holds: 1 of 30 updates failed in the last 30 d",
}
WAVES_LINE = {
    "product": "tidegate-gateway",
    "version": "1.0.0",
    "sequence": 1,
    "to": "all",
    "wave": 1,
    "waves": 2,
    "state": "done",
    "why": "w",
}
WAVES_DEVICE = {"id": "gate-1", "state": "failed", "group": "g", "board": "b", "wave": 1, "since": TIME, "why": "w"}
EVENT = {"id": 1, "at": TIME, "kind": "started", "by": "token ci", "why": "w"}
CLAIM = {"id": "00" * 8, "state": "open", "device": "gate-1", "name": None, "group": None, "expires": TIME}
HAPPENED = {"id": "a1", "at": TIME, "kind": "crash", "text": "crash: error", "body": {"trace": "x"}}
POINT = {"id": 1, "stream": "env", "name": "t", "value": 1.5, "at": TIME, "unit": "Cel"}
ENTRY = {"id": 1, "at": TIME, "actor": "serve", "action": "server.start", "subject": "server", "detail": {}}
ENTRY["hash"] = entry_hash(GENESIS, 1795939200000, "serve", "server.start", "server", {})
ACCOUNT = {"user": "gate-1", "password": "p"}
ROUTES: list[tuple[str, Any]] = [
    (r"POST /api/v1/sign-in-tickets", {"ticket": "tgt_" + "A" * 43, "seconds": 60}),
    (r"GET /api/v1/devices\?after=", {"devices": [DEVICE]}),
    (r"GET /api/v1/devices\?after=gate-1", {"devices": []}),
    (r"GET /api/v1/devices/[^/]+", {**DEVICE, "commands": [COMMAND], "telemetry": {}, "alarms": [ALARM]}),
    (
        r"POST /api/v1/devices",
        {"id": "gate-1", "mqtt": ACCOUNT, "coap": {"key": "00" * 32}},
    ),
    (
        r"POST /api/v1/devices/batch",
        {"devices": [{"id": "gate-1", "mqtt": ACCOUNT, "coap": {"key": "00" * 32}}], "known": ["gate-2"]},
    ),
    (r"(POST|PATCH) /api/v1/devices/[^/]+(/revoke)?", DEVICE),
    (r"PUT /api/v1/devices/[^/]+/product", DEVICE),
    (r"GET /api/v1/devices/[^/]+/telemetry\?.*", {"telemetry": [POINT], "next": None}),
    (r"GET /api/v1/devices/[^/]+/telemetry/last.*", {"last": [POINT], "streams": [{"stream": "env", "packs": 1}]}),
    (r"GET /api/v1/devices/[^/]+/timeline.*before=.*", {"timeline": [], "since": None, "before": None}),
    (
        r"GET /api/v1/devices/[^/]+/timeline.*",
        {"timeline": [HAPPENED], "since": "a1.e0", "before": "a1.e1", "silent_since": TIME},
    ),
    (r"GET /api/v1/alarms/mutes", {"mutes": [MUTE]}),
    (r"(POST|DELETE) /api/v1/alarms/mutes.*", MUTE),
    (r"POST /api/v1/alarms/acknowledge", {"acknowledged": [7]}),
    (r"GET /api/v1(/devices/[^/]+)?/alarms.*", {"alarms": [ALARM], "counters": {}}),
    (r"POST /api/v1/devices/[^/]+/commands", COMMAND),
    (r"(GET|POST) /api/v1/commands/[^/]+.*", COMMAND),
    (r"GET /api/v1/commands\?.*", {"commands": [COMMAND]}),
    (r"GET /api/v1/devices/[^/]+/opcodes", {"asked": COMMAND}),
    (r"(GET|POST) /api/v1/groups", {"digest": "d", "groups": [GROUP]}),
    (r"(GET|POST) /api/v1/devices/[^/]+/labels", {"id": "gate-1", "labels": {"site": "vienna"}}),
    (r"GET /api/v1/slo", {"budgets": [BUDGET]}),
    (r"(PUT|POST) /api/v1/slo/.*", {"budget": BUDGET}),
    (r"GET /api/v1/waves", {"rollouts": [WAVES_LINE]}),
    (r"GET /api/v1/rollouts/.*/waves/history\?since=0", {"history": [EVENT]}),
    (r"GET /api/v1/rollouts/.*/waves/history.*", {"history": []}),
    (r"GET /api/v1/rollouts/.*/waves/devices\?after=(&.*)?", {"devices": [WAVES_DEVICE]}),
    (r"GET /api/v1/rollouts/.*/waves/devices.*", {"devices": []}),
    (r"POST /api/v1/rollouts/.*/waves/plan", WAVES_PLAN),
    (r"(GET|POST) /api/v1/rollouts/.*/waves(/[a-z]+)?", WAVES),
    (r"GET /api/v1/rollouts\?.*", {"rollouts": [ROLLOUT]}),
    (r"(GET|POST) /api/v1/rollouts/.*(?<!/plan)", ROLLOUT),
    (r"POST /api/v1/rollouts/.*/plan", {"devices": [FATE]}),
    (r"POST /api/v1/claims", {**CLAIM, "claim": "tgc1_" + "00" * 8 + "_" + "A" * 43}),
    (r"GET /api/v1/claims.*", {"claims": [CLAIM]}),
    (r"DELETE /api/v1/claims/.*", CLAIM),
    (r"PUT /api/v1/payloads/.*", {}),
    (r"POST /api/v1/releases/plan", {"missing": [DIGEST], "published": False, "devices": [FATE]}),
    (r"POST /api/v1/releases", {"published": True, "channel": "stable", "warnings": ["w"], "offered": 1}),
    (r"GET /api/v1/releases/[^/]+/fetch.*", {"releases": []}),
    (r"PUT /api/v1/releases/.*/sbom", {"product": "p", "version": "1", "stored": True}),
    (
        r"GET /api/v1/releases/.*/sbom",
        {"product": "p", "version": "1.0.0", "sequence": 1, "document": "e30K", "signature": "AA=="},
    ),
    (r"POST /api/v1/data", {"published": True, "targets": [], "offered": 0}),
    (r"POST /api/v1/trust", {"version": 2, "withdrawn": [{"product": "p", "version": "1", "board": "b"}]}),
    (r"GET /api/v1/audit.*", {"whole": True, "first_break": None, "entries": [ENTRY]}),
]

Raw = Callable[[http.server.BaseHTTPRequestHandler], None]


class OddServer:
    """`url`: its address. `twist`: (request line, good answer) -> another value, bytes of a body, or a function that
    writes the whole answer; None for the good answer. `heard`: the requests, as "METHOD path"."""

    def __init__(self) -> None:
        self.twist: Callable[[str, Any], Any] = lambda request, good: good
        self.heard: list[str] = []
        self.tokens: list[str | None] = []
        odd = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                odd._answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        request = f"{handler.command} {handler.path}"
        self.heard.append(request)
        self.tokens.append(handler.headers.get("Authorization"))
        value = self.twist(request, good(request))
        try:
            if callable(value):
                value(handler)
            else:
                reply(handler, value if isinstance(value, bytes) else json.dumps(value).encode())
        except OSError:
            pass  # the client has gone, as it should


def good(request: str) -> Any:
    """What a Tidegate server answers to this request."""
    for pattern, value in ROUTES:
        if re.fullmatch(pattern, request):
            return copy.deepcopy(value)
    raise AssertionError(f"the odd server has no answer to {request}; give it one in ROUTES")


def reply(
    handler: http.server.BaseHTTPRequestHandler,
    body: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
    length: int | None = None,
) -> None:
    handler.send_response(status)
    given = {"Content-Type": "application/json", "Content-Length": str(len(body) if length is None else length)}
    for name, value in {**given, **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def mutations(value: Any, odd: tuple[Any, ...]) -> Iterator[Any]:
    """Copies of `value` in which one part, at any depth, is left out or replaced by each of `odd`."""
    for path in _paths(value):
        for other in odd:
            yield _replaced(value, path, other)
        if path:
            yield _replaced(value, path, ..., drop=True)


def _paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*above, key))


def _replaced(value: Any, path: tuple[Any, ...], other: Any, drop: bool = False) -> Any:
    if not path:
        return other
    changed = copy.deepcopy(value)
    place = changed
    for step in path[:-1]:
        place = place[step]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = other
    return changed
