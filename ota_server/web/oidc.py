"""Signing in by an OpenID Connect provider: the code flow with PKCE, and roles from a claim of the ID token.

It is there if the data folder has `oidc.toml`. What a sign-in must remember until the provider sends the browser back
is derived from one random cookie: state, nonce and verifier, each by a hash of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import Response, current_app, make_response, redirect, request, url_for

from ota_server.api import context
from ota_server.errors import NotFound
from ota_server.security import sessions
from ota_server.security.people import ROLES
from ota_server.web import session as web_session
from ota_server.web import sign_in
from tidegate.errors import TidegateError
from tidegate.files import read_limited

log = logging.getLogger("tidegate.access")

FILE = "oidc.toml"  # in the data folder
_COOKIE = "tidegate-oidc"
_LASTS_S = 600  # from our door to the provider and back
_TIMEOUT_S = 10
_LEEWAY_S = 60
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAX_FILE = 64 << 10


class Provider(NamedTuple):
    """name: for the door. claim: of the ID token; its value or one of its values is a key of `roles`."""

    name: str
    issuer: str
    client_id: str
    client_secret: str
    claim: str
    roles: Mapping[str, str]


class NotSignedIn(Exception):
    """Why, for whoever stands at the door."""


def load(folder: Path) -> Provider | None:
    """What the data folder says; None without the file. Raises TidegateError."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        said = tomllib.loads(read_limited(file, _MAX_FILE, FILE).decode())
    except ValueError as error:
        raise TidegateError(f"{file} is not TOML: {error}", "See docs/server.md, Sign-in by a provider") from None
    texts = ("issuer", "client_id", "client_secret_file", "claim")
    for key in texts:
        if not isinstance(said.get(key), str) or not said[key]:
            raise TidegateError(f"{file}: {key} must be text", "See docs/server.md, Sign-in by a provider")
    parts, roles = urlsplit(said["issuer"]), said.get("roles")
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise TidegateError(f"{file}: issuer must be an https address", "Who listens could sign in as anybody")
    if not isinstance(roles, dict) or not roles or not all(role in ROLES for role in roles.values()):
        raise TidegateError(f"{file}: [roles] must give values of the claim a role", f"Roles are {', '.join(ROLES)}")
    if unknown := sorted(set(said) - {*texts, "roles", "name"}):
        raise TidegateError(f"{file}: {unknown[0]} is not known", f"Keys are name, {', '.join(texts)} and [roles]")
    secret = read_limited(folder / said["client_secret_file"], 4096, "client secret").decode().strip()
    name = str(said.get("name") or parts.hostname)
    return Provider(name, said["issuer"].rstrip("/"), said["client_id"], secret, said["claim"], roles)


def start() -> Response:
    """GET: to the provider."""
    provider, place = _provider(), request.args.get("next", "")
    secret = secrets.token_urlsafe(32)
    try:
        address, _ = _client(provider).create_authorization_url(
            _metadata(provider)["authorization_endpoint"],
            state=_derived(secret, "state"),
            nonce=_derived(secret, "nonce"),
            code_verifier=_derived(secret, "verifier"),
        )
    except NotSignedIn as error:
        return make_response(sign_in.door(place, str(error)), 503)
    answer = make_response(redirect(address, 303))
    answer.set_cookie(
        _COOKIE, f"{secret}|{place[:1000]}", _LASTS_S, secure=request.is_secure, httponly=True, samesite="Lax",
        path=url_for("web.oidc_back"),
    )  # fmt: skip
    return answer


def back() -> Response:
    """GET: code, state; from the provider."""
    provider = _provider()
    secret, _, place = request.cookies.get(_COOKIE, "").partition("|")
    try:
        name, scopes = _vouched(provider, secret)
    except NotSignedIn as error:
        log.warning("%s: refused to sign in by %s: %s", request.remote_addr, provider.name, error)
        return make_response(sign_in.door(place, f"{provider.name}: {error}"), 403)
    with context.store().write() as session:
        cookie = sessions.of_person(session, name, scopes, request.remote_addr or "?")
    answer = sign_in.to_next(place)
    web_session.give(answer, cookie)
    answer.delete_cookie(_COOKIE, path=url_for("web.oidc_back"), httponly=True)
    return answer


def _vouched(provider: Provider, secret: str) -> tuple[str, str]:
    """The name and the scopes of whom the provider vouches for."""
    state = request.args.get("state", "")
    if not secret or not hmac.compare_digest(state.encode(), _derived(secret, "state").encode()):
        raise NotSignedIn("the answer belongs to no sign-in that began here; begin again")
    if "code" not in request.args:
        raise NotSignedIn(f"it refused ({request.args.get('error', 'no code')[:80]})")
    import httpx
    from authlib.common.errors import AuthlibBaseError
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    metadata = _metadata(provider)
    try:
        client = _client(provider)
        code, verifier = request.args["code"][:4096], _derived(secret, "verifier")
        given = client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=verifier)
        keys = KeySet.import_key_set(_json(metadata["jwks_uri"]))
        token = jwt.decode(given["id_token"], keys, algorithms=_ALGORITHMS)
        essential = {"iss": {"essential": True, "values": [provider.issuer]},
                     "aud": {"essential": True, "values": [provider.client_id]},
                     "nonce": {"essential": True}}  # fmt: skip
        known = {"nonce": _derived(secret, "nonce"), "client_id": provider.client_id}
        claims = CodeIDToken(token.claims, token.header, essential, known)
        claims.validate(leeway=_LEEWAY_S)
    except httpx.HTTPError as error:
        raise NotSignedIn(f"it does not answer ({type(error).__name__})") from error
    except (AuthlibBaseError, JoseError, KeyError, ValueError) as error:
        raise NotSignedIn(f"its word does not hold ({type(error).__name__}: {str(error)[:120]})") from error
    return _named(provider, claims)


def _named(provider: Provider, claims: Mapping[str, Any]) -> tuple[str, str]:
    name = next((str(claims[key]) for key in ("email", "preferred_username", "sub") if claims.get(key)), "?")
    held = claims.get(provider.claim)
    held = held if isinstance(held, list) else [held]
    mine = {provider.roles[one] for one in held if isinstance(one, str) and one in provider.roles}
    if not mine:
        raise NotSignedIn(f"{name[:60]} has no role here: none of {provider.claim} is in the server's {FILE}")
    scopes = {scope for role in mine for scope in ROLES[role]}
    return name, " ".join(sorted(scopes))


def _client(provider: Provider) -> Any:
    try:
        from authlib.integrations.httpx_client import OAuth2Client
    except ImportError as error:
        what = f"{FILE} is there, and Authlib is not"
        raise TidegateError(what, "Install it: pip install 'tidegate[oidc]'") from error
    return OAuth2Client(
        provider.client_id, provider.client_secret, scope="openid email profile", timeout=_TIMEOUT_S,
        redirect_uri=url_for("web.oidc_back", _external=True), code_challenge_method="S256",
    )  # fmt: skip


def _metadata(provider: Provider) -> dict[str, Any]:
    """What the provider says of itself; asked for again after an hour."""
    known: dict[str, Any] = current_app.extensions["oidc_metadata"]
    if known.get("until", 0) < time.monotonic():
        found = _json(f"{provider.issuer}/.well-known/openid-configuration")
        if str(found.get("issuer", "")).rstrip("/") != provider.issuer:
            raise NotSignedIn("it says that it is another issuer than the server's file")
        for key in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(found.get(key), str):
                raise NotSignedIn(f"its configuration has no {key}")
        known.update(found=found, until=time.monotonic() + 3600)
    said: dict[str, Any] = known["found"]
    return said


def _json(address: str) -> Any:
    import httpx

    try:
        answer = httpx.get(address, timeout=_TIMEOUT_S).raise_for_status()
        return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise NotSignedIn(f"it does not answer ({type(error).__name__})") from error


def _derived(secret: str, use: str) -> str:
    return hashlib.sha256(f"{use}:{secret}".encode()).hexdigest()


def _provider() -> Provider:
    found: Provider | None = current_app.extensions["oidc"]
    if found is None:
        raise NotFound("no-provider", "people sign in with a token here", f"See docs/server.md on {FILE}")
    return found
