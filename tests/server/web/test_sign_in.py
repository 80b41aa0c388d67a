"""Signing in at the page: cookies, roles, forms of others, guesses, and when a session ends."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from page_fleet import PageFleet
from sqlalchemy import select

from ota_server.security import sessions
from ota_server.security.people import ROLES, role_of
from ota_server.store import alarm_handling, alarms, now_ms
from ota_server.store.models import Alarm, Audit, Rollout, Token, WebhookDelivery, WebSession

PAGES = ("/", "/devices", "/devices/gw-00000", "/releases", "/rollouts", "/alarms", "/audit")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> PageFleet:
    return PageFleet(tmp_path_factory.mktemp("fleet"), 40)


def signed_in(fleet: PageFleet, *scopes: str) -> FlaskClient:
    client = fleet.app.test_client()
    answer = client.post("/sign-in", data={"token": fleet.token(*scopes)})
    assert answer.status_code == 303 and answer.location == "/"
    return client


def csrf(client: FlaskClient, page: str = "/") -> str:
    text = client.get(page).text
    return text.partition('name="csrf" value="')[2].partition('"')[0]


def acts(fleet: PageFleet) -> list[str]:
    with fleet.store.read() as session:
        return list(session.scalars(select(Audit.action).order_by(Audit.id)))


@pytest.mark.parametrize("page", PAGES)
def test_whoever_is_not_signed_in_sees_the_door(fleet, page):
    client = fleet.app.test_client()
    answer = client.get(page)
    assert answer.status_code == 303 and answer.location.startswith("/sign-in")
    assert client.get(page, headers={"Accept": "text/event-stream"}).status_code == 401
    bearer = {"Authorization": f"Bearer {fleet.token('admin')}"}
    assert client.get(page, headers=bearer).status_code == 303, "programs have the API"


def test_a_token_becomes_a_cookie_that_only_the_browser_has(fleet):
    token = fleet.token("read")
    answer = fleet.app.test_client().post("/sign-in", data={"token": token, "next": "/devices?group=north"})
    assert answer.status_code == 303 and answer.location == "/devices?group=north"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("tidegate-session=") and "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert "Secure" not in cookie and token not in cookie
    secret = cookie.partition("=")[2].partition(";")[0]
    with fleet.store.read() as session:
        assert secret not in str([(row.hash, row.who) for row in session.scalars(select(WebSession))])
    secure = fleet.app.test_client().post("/sign-in", data={"token": token}, base_url="https://localhost")
    assert secure.headers["Set-Cookie"].startswith("__Host-tidegate=") and "Secure" in secure.headers["Set-Cookie"]


@pytest.mark.parametrize("place", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/\nx", ""])
def test_signing_in_leads_to_a_page_of_ours(fleet, place):
    answer = fleet.app.test_client().post("/sign-in", data={"token": fleet.token("read"), "next": place})
    assert answer.status_code == 303 and answer.location == "/"


def test_the_cookie_is_worth_nothing_at_the_api(fleet):
    assert signed_in(fleet, "admin").get("/api/v1/devices").status_code == 401


def test_a_session_ends_by_signing_out_with_its_token_and_with_time(fleet, monkeypatch):
    client = signed_in(fleet, "read")
    assert client.get("/devices").status_code == 200
    assert client.post("/sign-out", data={"csrf": csrf(client)}).location == "/sign-in"
    assert client.get("/devices").status_code == 303
    assert acts(fleet)[-2:] == ["session.open", "session.close"]

    client = signed_in(fleet, "read")
    with fleet.store.write() as session:
        session.scalars(select(Token).order_by(Token.id.desc()).limit(1)).one().revoked_at = now_ms()
    assert client.get("/devices").status_code == 303

    client = signed_in(fleet, "read")
    later = now_ms() + 1000 * sessions.LASTS_S
    monkeypatch.setattr(sessions, "now_ms", lambda: later)
    assert client.get("/devices").status_code == 303


def test_guesses_are_slowed_down_and_logged(tmp_path: Path, caplog):
    fleet = PageFleet(tmp_path, 0)
    client, token = fleet.app.test_client(), fleet.token("read")
    with caplog.at_level(logging.WARNING, "tidegate.access"):
        answers = [client.post("/sign-in", data={"token": f"tg_{n}"}).status_code for n in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert "too many wrong tokens" in caplog.text and "refused: no valid token" in caplog.text
    assert client.post("/sign-in", data={"token": token}).status_code == 429, "a right one has to wait, too"
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.post("/sign-in", data={"token": token}, environ_base=elsewhere).status_code == 303
    assert "session.open" in acts(fleet)


def ticket(fleet: PageFleet, token: str) -> str:
    answer = fleet.app.test_client().post("/api/v1/sign-in-tickets", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200 and answer.json["seconds"] == sessions.TICKET_LASTS_S
    return answer.json["ticket"]


def test_a_ticket_signs_in_once_as_its_token(fleet, monkeypatch):
    token = fleet.token("read")
    made = ticket(fleet, token)
    assert made.startswith("tgt_") and token not in made
    client = fleet.app.test_client()
    for cookie in (made, f"ticket{made}"):
        client.set_cookie("tidegate-session", cookie)
        assert client.get("/devices").status_code == 303, "a ticket is no cookie"
    bearer = {"Authorization": f"Bearer {made}"}
    assert client.get("/api/v1/devices", headers=bearer).status_code == 401, "nor a token"
    answer = client.post("/sign-in", data={"token": made, "next": "/devices"})
    assert answer.status_code == 303 and answer.location == "/devices"
    assert client.get("/devices").status_code == 200 and client.get("/audit").status_code == 403
    assert acts(fleet)[-2:] == ["session.ticket", "session.open"]
    again = fleet.app.test_client().post("/sign-in", data={"token": made})
    assert again.status_code == 401 and "signs in once" in again.text

    late = ticket(fleet, token)
    gone = ticket(fleet, token)
    with fleet.store.write() as session:
        session.scalars(select(Token).order_by(Token.id.desc()).limit(1)).one().revoked_at = now_ms()
    assert fleet.app.test_client().post("/sign-in", data={"token": gone}).status_code == 401
    later = now_ms() + 1000 * sessions.TICKET_LASTS_S
    monkeypatch.setattr(sessions, "now_ms", lambda: later)
    assert fleet.app.test_client().post("/sign-in", data={"token": late}).status_code == 401


def test_forms_of_other_pages_do_nothing(fleet):
    client = signed_in(fleet, "admin")
    right = csrf(client)
    for data, headers in (
        ({}, {}),
        ({"csrf": "0" * 32}, {}),
        ({"csrf": csrf(signed_in(fleet, "admin"))}, {}),
        ({"csrf": right}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": right}, {"Sec-Fetch-Site": "same-site"}),
        ({"csrf": right}, {"Origin": "https://evil.example"}),
        ({"csrf": right}, {"Origin": "null"}),
    ):
        answer = client.post("/alarms/acknowledge", data={"id": "1", **data}, headers=headers)
        assert answer.status_code == 403, (data, headers)
    for odd in ("null", "http://["):
        assert fleet.app.test_client().post("/sign-in", headers={"Origin": odd}).status_code == 403
    assert fleet.app.test_client().post("/alarms/acknowledge", data={"id": "1"}).status_code == 401
    ours = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/sign-out", data={"csrf": right}, headers=ours).status_code == 303


def test_roles_are_sets_of_scopes(fleet):
    assert [role_of(" ".join(scopes)) for scopes in ROLES.values()] == list(ROLES)
    assert role_of("metrics") == "guest" and role_of("read command") == "viewer"
    viewer = signed_in(fleet, "read")
    assert viewer.get("/audit").status_code == 403 and "Audit" not in viewer.get("/").text
    steer = "/rollouts/tidegate-gateway/1.2.0"
    assert "Pause" not in viewer.get(steer).text
    key = {"csrf": csrf(viewer)}
    assert viewer.post(f"{steer}/pause", data=key).status_code == 403
    assert viewer.post("/alarms/mute", data=key).status_code == 403
    assert "Acknowledge the chosen ones" not in viewer.get("/alarms").text
    assert signed_in(fleet, "publish").get("/").status_code == 403


def test_who_may_steers_a_rollout(fleet):
    client = signed_in(fleet, *ROLES["operator"])
    page = "/rollouts/tidegate-gateway/1.2.0"
    assert "Pause" in client.get(page).text
    answer = client.post(f"{page}/pause", data={"csrf": csrf(client), "why": "the valve <sticks>"})
    assert answer.status_code == 303 and answer.location == page
    with fleet.store.read() as session:
        assert session.scalars(select(Rollout)).one().state == "paused"
    text = client.get(page).text
    assert "the valve &lt;sticks&gt;" in text and "Resume" in text and ">Pause<" not in text
    assert "is paused" in client.get("/").text
    assert client.post(f"{page}/pause", data={"csrf": csrf(client)}).status_code == 409
    assert client.post(f"{page}/explode", data={"csrf": csrf(client)}).status_code == 400
    assert client.post(f"{page}/resume", data={"csrf": csrf(client)}).status_code == 303
    with fleet.store.read() as session:
        assert session.scalars(select(Rollout)).one().state == "running"


def test_alarms_are_acknowledged_and_muted_until_an_end(fleet):
    client = signed_in(fleet, *ROLES["operator"])
    key = {"csrf": csrf(client)}
    with fleet.store.read() as session:
        stuck = session.scalars(select(Alarm.id).where(Alarm.reason == "stuck")).one()
    assert "sensor: stuck" in client.get("/").text
    assert client.post("/alarms/acknowledge", data={**key, "id": [str(stuck), "x", "9" * 30]}).status_code == 303
    assert "sensor: stuck" not in client.get("/").text and "stuck" not in client.get("/alarms").text
    assert "acknowledged by token:" in client.get("/alarms?all=1").text

    assert "crash: OSError" in client.get("/").text
    mute = {**key, "kind": "crash", "device": "Pump.0", "hours": "8", "why": "a new valve is on its way"}
    named = client.get("/alarms?kind=crash").text
    assert ">Pump.0</a>" in named and ">gw-00000</a>" not in named
    assert client.post("/alarms/mute", data=mute).status_code == 303
    assert "crash: OSError" not in client.get("/").text and "OSError" in client.get("/alarms").text
    with fleet.store.write() as session:
        (row,) = alarm_handling.mutes(session)
        assert row.until > now_ms() + 7 * 3_600_000 and row.device_id == "gw-00000"
        assert alarm_handling.is_muted(session, "gw-00000", "crash")
        assert not alarm_handling.is_muted(session, "gw-00001", "crash")
        before = len(session.scalars(select(WebhookDelivery)).all())
        alarms.add(session, "gw-00000", "crash", "again", None, None, 1)
        assert len(session.scalars(select(WebhookDelivery)).all()) == before
        number = row.id
    assert client.post("/alarms/unmute", data={**key, "id": str(number)}).status_code == 303
    assert "crash: OSError" in client.get("/").text
    for wrong in ({"kind": ""}, {"hours": "1000000"}):
        assert client.post("/alarms/mute", data={**mute, **wrong}).status_code == 400
    assert client.post("/alarms/mute", data={**mute, "device": "nobody"}).status_code == 404
    assert acts(fleet)[-3:] == ["alarm.acknowledge", "alarm.mute", "alarm.unmute"]
