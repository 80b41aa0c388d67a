"""People sign in by a real OpenID Connect provider on this machine; what it says is checked before it is believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask.testing import FlaskClient
from oidc_provider_mock import User, run_server_in_thread
from sqlalchemy import select

from ota_server.application import create_app
from ota_server.config import Config
from ota_server.store.models import Audit
from ota_server.web import oidc
from tidegate.errors import TidegateError

PEOPLE = [
    User(sub="u1", claims={"email": "ada@example.org", "groups": ["staff", "ops"]}),
    User(sub="u2", claims={"email": "bob@example.org", "groups": "all"}),
    User(sub="u3", claims={"email": "eve@example.org", "groups": ["visitors"]}),
    User(sub="u4", claims={"email": "sum@example.org", "groups": ["all", "builders"]}),
]
ROLES = '[roles]\nops = "operator"\nall = "viewer"\nbuilders = "publisher"\n'


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with run_server_in_thread(user_claims=PEOPLE, require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


def configure(folder: Path, issuer: str, roles: str = ROLES, **changes: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "oidc.secret").write_text("a secret of ours\n")
    facts = {"name": "Example ID", "issuer": issuer, "client_id": "tidegate", "client_secret_file": "oidc.secret",
             "claim": "groups", **changes}  # fmt: skip
    (folder / oidc.FILE).write_text("".join(f'{key} = "{value}"\n' for key, value in facts.items()) + roles)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, issuer: str):
    folder = tmp_path_factory.mktemp("oidc")
    configure(folder, issuer)
    return create_app(Config(data=folder))


def vouched_for(client: FlaskClient, person: str, place: str = "") -> str:
    """What the provider has the browser open when this person agrees there."""
    begun = client.get("/sign-in/oidc", query_string={"next": place})
    assert begun.status_code == 303
    asked = parse_qs(urlsplit(begun.location).query)
    assert asked["code_challenge_method"] == ["S256"] and asked["response_type"] == ["code"]
    agreed = httpx.post(begun.location, data={"sub": person})
    assert agreed.status_code in (302, 303), agreed.text
    there = urlsplit(agreed.headers["location"])
    return f"{there.path}?{there.query}"


def test_who_has_a_role_is_signed_in_with_it(app):
    client = app.test_client()
    assert "Sign in with Example ID" in client.get("/sign-in").text
    answer = client.get(vouched_for(client, "u1", "/devices?group=north"))
    assert answer.status_code == 303 and answer.location == "/devices?group=north", answer.text
    page = client.get("/devices").text
    assert "person:ada@example.org" in page and ">operator<" in page
    assert client.get("/audit").status_code == 403
    with app.extensions["store"].read() as session:
        assert session.scalars(select(Audit.actor).order_by(Audit.id.desc()).limit(1)).one() == "person:ada@example.org"


def test_a_claim_may_be_one_word_and_several_roles_add_up(app):
    client = app.test_client()
    assert client.get(vouched_for(client, "u2")).location == "/"
    assert ">viewer<" in client.get("/").text
    client = app.test_client()
    assert client.get(vouched_for(client, "u4")).location == "/"
    assert ">publisher<" in client.get("/").text


def test_who_has_no_role_stays_at_the_door(app, caplog):
    client = app.test_client()
    answer = client.get(vouched_for(client, "u3"))
    assert answer.status_code == 403 and "eve@example.org has no role here" in answer.text
    assert client.get("/").status_code == 303 and "refused to sign in by Example ID" in caplog.text


def test_an_answer_counts_once_in_the_browser_that_began_and_unchanged(app):
    client, other = app.test_client(), app.test_client()
    address = vouched_for(client, "u1")
    assert other.get(address).status_code == 403, "another browser: a sign-in that somebody else began"
    assert client.get(address.replace("state=", "state=0")).status_code == 403
    assert client.get(address.replace("code=", "code=x")).status_code == 403
    assert client.get("/sign-in/oidc/back?error=access_denied").status_code == 403
    address = vouched_for(client, "u1")
    assert client.get(address).status_code == 303
    assert client.get(address).status_code == 403, "the same answer again"


def test_a_token_for_somebody_else_is_not_believed(app, monkeypatch):
    client = app.test_client()
    for changes in ({"client_id": "another"}, {"issuer": "http://localhost:1"}):
        address = vouched_for(client, "u1")
        with monkeypatch.context() as patch:
            real = oidc.Provider(**{**app.extensions["oidc"]._asdict(), **changes})
            patch.setitem(app.extensions, "oidc", real)
            answer = client.get(address)
            assert answer.status_code == 403 and "does not hold" in answer.text, changes
    address = vouched_for(client, "u1")
    derived = oidc._derived
    monkeypatch.setattr(oidc, "_derived", lambda secret, use: "other" if use == "nonce" else derived(secret, use))
    assert "nonce" in client.get(address).text


def test_a_provider_that_is_away_and_one_that_is_another(tmp_path, issuer):
    configure(tmp_path, "http://127.0.0.1:9")
    answer = create_app(Config(data=tmp_path)).test_client().get("/sign-in/oidc")
    assert answer.status_code == 503 and "does not answer" in answer.text
    configure(tmp_path, issuer.replace("localhost", "LOCALHOST"))
    answer = create_app(Config(data=tmp_path)).test_client().get("/sign-in/oidc")
    assert answer.status_code == 503 and "another issuer" in answer.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "http://id.example"}, "https"),
        ({"claim": ""}, "claim must be text"),
        ({"colour": "blue"}, "colour is not known"),
        ({"client_secret_file": "nowhere"}, "nowhere"),
        ({"roles": '[roles]\nops = "king"\n'}, "roles"),
        ({"roles": "[roles\n"}, "not TOML"),
    ],
)
def test_a_wrong_file_stops_the_server_with_its_name(tmp_path, changes, words):
    configure(tmp_path, **{"issuer": "https://id.example", **changes})
    with pytest.raises(TidegateError, match=words):
        create_app(Config(data=tmp_path))


def test_without_the_file_there_is_no_provider(tmp_path):
    client = create_app(Config(data=tmp_path)).test_client()
    assert client.get("/sign-in/oidc").status_code == 404 and "Sign in with" not in client.get("/sign-in").text
