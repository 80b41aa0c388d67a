"""Tokens, scopes, the audit log, headers."""

from __future__ import annotations

import sqlite3
import stat
import subprocess

import pytest

ROUTES = [
    ("GET", "/api/v1/devices", "read"),
    ("GET", "/api/v1/devices/x", "read"),
    ("GET", "/api/v1/devices/x/reports", "read"),
    ("GET", "/api/v1/devices/x/timeline", "read"),
    ("GET", "/api/v1/releases/x/1/sbom", "read"),
    ("PUT", "/api/v1/releases/x/1/sbom", "publish"),
    ("GET", "/api/v1/devices/x/telemetry", "read"),
    ("GET", "/api/v1/devices/x/telemetry/last", "read"),
    ("GET", "/api/v1/devices/x/telemetry/rollups", "read"),
    ("GET", "/api/v1/devices/x/alarms", "read"),
    ("GET", "/api/v1/releases", "read"),
    ("GET", "/api/v1/commands", "read"),
    ("GET", "/api/v1/commands/00", "read"),
    ("POST", "/api/v1/commands/00/cancel", "command"),
    ("GET", "/api/v1/devices/x/opcodes", "read"),
    ("GET", "/api/v1/alarms", "read"),
    ("POST", "/api/v1/alarms/acknowledge", "devices"),
    ("GET", "/api/v1/alarms/mutes", "read"),
    ("POST", "/api/v1/alarms/mutes", "devices"),
    ("DELETE", "/api/v1/alarms/mutes/1", "devices"),
    ("GET", "/api/v1/status", "read"),
    ("GET", "/api/v1/trust", "read"),
    ("GET", "/api/v1/data", "read"),
    ("GET", "/api/v1/audit", "admin"),
    ("POST", "/api/v1/sign-in-tickets", "read"),
    ("GET", "/api/v1/webhooks", "admin"),
    ("GET", "/api/v1/webhooks/1/deliveries", "admin"),
    ("POST", "/api/v1/devices", "devices"),
    ("POST", "/api/v1/devices/batch", "devices"),
    ("POST", "/api/v1/devices/x/credentials", "devices"),
    ("POST", "/api/v1/devices/x/revoke", "devices"),
    ("PATCH", "/api/v1/devices/x", "devices"),
    ("POST", "/api/v1/claims", "devices"),
    ("GET", "/api/v1/claims", "read"),
    ("DELETE", "/api/v1/claims/x", "devices"),
    ("POST", "/api/v1/devices/x/commands", "command"),
    ("POST", "/api/v1/releases", "publish"),
    ("POST", "/api/v1/releases/plan", "publish"),
    ("GET", "/api/v1/releases/x/fetch", "publish"),
    ("GET", "/api/v1/groups", "read"),
    ("POST", "/api/v1/groups", "rollout"),
    ("GET", "/api/v1/rollouts", "read"),
    ("GET", "/api/v1/rollouts/x/1", "read"),
    ("POST", "/api/v1/rollouts/x/1/plan", "rollout"),
    ("POST", "/api/v1/rollouts/x/1/start", "rollout"),
    ("POST", "/api/v1/rollouts/x/1/stop", "rollout"),
    ("POST", "/api/v1/rollouts/x/1/retry", "rollout"),
    ("GET", "/api/v1/devices/x/labels", "read"),
    ("POST", "/api/v1/devices/x/labels", "devices"),
    ("PUT", "/api/v1/devices/x/product", "devices"),
    ("GET", "/api/v1/waves", "read"),
    ("GET", "/api/v1/rollouts/x/1/waves", "read"),
    ("GET", "/api/v1/rollouts/x/1/waves/devices", "read"),
    ("GET", "/api/v1/rollouts/x/1/waves/history", "read"),
    ("POST", "/api/v1/rollouts/x/1/waves/plan", "rollout"),
    ("POST", "/api/v1/rollouts/x/1/waves/start", "rollout"),
    ("POST", "/api/v1/rollouts/x/1/waves/pause", "rollout"),
    ("POST", "/api/v1/rollouts/x/1/waves/resume", "rollout"),
    ("POST", "/api/v1/rollouts/x/1/waves/abort", "rollout"),
    ("POST", "/api/v1/rollouts/x/1/waves/promote", "rollout"),
    ("POST", "/api/v1/rollouts/x/1/waves/retry", "rollout"),
    ("GET", "/api/v1/slo", "read"),
    ("PUT", "/api/v1/slo/x", "rollout"),
    ("POST", "/api/v1/slo/x/lift", "rollout"),
    ("POST", "/api/v1/trust", "publish"),
    ("POST", "/api/v1/data", "publish"),
    ("PUT", "/api/v1/payloads/" + "0" * 64, "publish"),
    ("GET", "/metrics", "metrics"),
]
OPEN = {
    "/healthz",
    "/readyz",
    "/p/<name>",
    "/api/v1/enrol",
    "/api/v1/openapi.json",
    "/static/<path:filename>",
    "/favicon.ico",
    "/sign-in",
    "/sign-in/oidc",
    "/sign-in/oidc/back",
}
PAGES = {
    "/",
    "/devices",
    "/devices/<name>",
    "/releases",
    "/releases/<product>/<int:sequence>/sbom",
    "/rollouts",
    "/rollouts/<product>/<version>",
    "/rollouts/<product>/<version>/<act>",
    "/alarms",
    "/alarms/acknowledge",
    "/alarms/mute",
    "/alarms/unmute",
    "/audit",
    "/sign-out",
}  # for people, with a cookie: tests/server/web/test_sign_in.py


def test_every_address_is_in_this_table(tmp_path):
    from ota_server.application import create_app
    from ota_server.config import Config

    app = create_app(Config(data=tmp_path))
    adapter = app.url_map.bind("server")
    known = {adapter.match(path, method, return_rule=True)[0].rule for method, path, _ in ROUTES}
    assert {rule.rule for rule in app.url_map.iter_rules()} == known | OPEN | PAGES


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES, ids=lambda value: str(value)[:40])
def test_every_address_wants_its_scope(shared, tokens, method, path, scope):
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        answer = shared.http.request(method, path, headers={"Authorization": "", **header})
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer"), answer.text
        assert "tidegate token new" in answer.json()["remedy"]
    for other, headers in tokens.items():
        answer = shared.http.request(method, path, headers=headers)
        if other == scope:
            assert answer.status_code not in (401, 403), answer.text
        else:
            assert answer.status_code == 403 and scope in answer.json()["detail"] and other in answer.json()["detail"]


@pytest.fixture(scope="module")
def tokens(shared) -> dict[str, dict[str, str]]:
    """One token for each scope but admin's, which may do everything."""
    return {scope: shared.token_for(scope) for scope in ("publish", "rollout", "devices", "command", "read")}


def test_a_token_of_two_scopes_and_its_end(shared):
    headers = shared.token_for("read", "command")
    assert shared.http.get("/api/v1/devices", headers=headers).status_code == 200
    assert shared.http.post("/api/v1/devices", headers=headers).status_code == 403
    listed = shared.cli("token", "list").stdout
    assert headers["Authorization"].split()[1] not in listed
    number = [line.split()[0] for line in listed.splitlines() if "command+read" in line][-1]
    shared.cli("token", "revoke", number)
    assert shared.http.get("/api/v1/devices", headers=headers).status_code == 401


def test_a_token_of_a_role_has_its_scopes(shared, tmp_path):
    shared.cli("token", "new", "--role", "operator", "--scope", "read", "--name", "ada", "--out", str(tmp_path / "ada"))
    headers = {"Authorization": f"Bearer {(tmp_path / 'ada').read_text().strip()}"}
    assert shared.http.get("/api/v1/devices", headers=headers).status_code == 200
    assert shared.http.post("/api/v1/devices", headers=headers).status_code in (400, 415)
    assert shared.http.get("/api/v1/audit", headers=headers).status_code == 403
    listed = [line for line in shared.cli("token", "list").stdout.splitlines() if " ada " in line]
    assert "command devices read rollout" in listed[0]
    with pytest.raises(subprocess.CalledProcessError) as refused:
        shared.cli("token", "new", "--name", "nobody")
    assert "--role" in refused.value.stderr


def test_secrets_are_nobody_elses(shared, tokens):
    for file in ("admin.token", "broker.password"):
        assert stat.S_IMODE((shared.data / file).stat().st_mode) == 0o600
    kept = b"".join(path.read_bytes() for path in shared.data.glob("tidegate.db*")) + shared.log.read_bytes()
    for secret in (shared.token, *(h["Authorization"].split()[1] for h in tokens.values())):
        assert secret.encode() not in kept
    assert (shared.data / "broker.password").read_bytes().strip() not in kept


def test_the_audit_log_names_every_privileged_act_and_shows_a_change(start):
    server = start()
    server.register("gw-1")
    server.api("POST", "/devices/gw-1/credentials")
    server.api("PUT", "/payloads/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", content=b"abc")
    acts = [entry["action"] for entry in server.api("GET", "/audit")["entries"]]
    assert acts == ["payload.store", "device.credentials", "device.register", "server.start", "token.new"]
    assert server.cli("audit").stdout == "the audit log is whole\n"
    with sqlite3.connect(server.data / "tidegate.db") as db:
        for statement in ("UPDATE audit SET actor = 'nobody' WHERE id = 3", "DELETE FROM audit WHERE id = 3"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)
        db.execute("DROP TRIGGER audit_no_update")
        db.execute("UPDATE audit SET actor = 'nobody' WHERE id = 3")
    answer = server.api("GET", "/audit")
    assert answer["whole"] is False and answer["first_break"] == 3


def test_headers(shared):
    page = shared.http.get("/sign-in", headers={"Authorization": ""})
    assert (
        page.status_code == 200
        and "<script>" not in page.text
        and " style=" not in page.text
        and "onclick" not in page.text
    )
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    for path in ("/", "/api/v1/status", "/nowhere", "/static/page.js"):
        headers = shared.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
    assert shared.http.get("/api/v1/status").headers["cache-control"] == "no-store"


def test_odd_requests_get_a_problem_and_no_traceback(shared):
    for method, path in (
        ("GET", "/nowhere"),
        ("DELETE", "/api/v1/devices"),
        ("POST", "/p/" + "0" * 64),
        ("GET", "/static/../config.py"),
    ):
        answer = shared.http.request(method, path)
        assert answer.status_code in (404, 405) and answer.json()["remedy"], path
    for query in ("limit=x", "limit=-1", "limit=99999", "since=%00", "limit=²"):
        answer = shared.http.get(f"/api/v1/alarms?{query}")
        assert answer.status_code == 400 and answer.json()["remedy"], query


BAD_DEVICES = [
    {"id": "Upper"}, {"id": "x" * 33}, {"id": ""}, {"id": "a/b"}, {"id": "a+"}, {"id": 1}, {"id": "tidegate_server"},
    {"board": "no spaces"}, {"product": "../x"}, {"extra": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD_DEVICES, ids=str)
def test_devices_that_cannot_be(shared, change):
    answer = shared.http.post("/api/v1/devices", json={"id": "gw", "board": "unix", "product": "p", **change})
    assert answer.status_code == 400 and answer.json()["remedy"]
