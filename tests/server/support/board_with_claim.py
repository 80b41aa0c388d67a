"""A board that enrols, as the server sees one: real keys, real messages, real HTTP."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import Any

import httpx
from patience import limit
from server_process import BOARD, PRODUCT, ServerProcess

from tidegate import enrolment
from tidegate.enrolment import Answer, Claim, Request
from tidegate.trust import keys

KIND = {"Content-Type": "application/cbor"}


def new_claim(server: ServerProcess, store: bytes, **wanted: Any) -> Claim:
    """A claim as `tidegate device claim` makes it."""
    return enrolment.complete(server.api("POST", "/claims", json=wanted)["claim"], store)


class Board:
    """One board with a key of its own. trust: the print of the store it asks for; None: it has one."""

    def __init__(self, unique_id: bytes | None = None, board: str = BOARD, product: str = PRODUCT):
        self.key = keys.from_seed("release", secrets.token_bytes(32))
        self.hardware = enrolment.hardware_fingerprint(unique_id or os.urandom(6))
        self.board, self.product = board, product

    @property
    def id(self) -> str:
        return enrolment.device_id(self.key.public)

    def asks(self, claim: Claim, nonce: bytes, trust: bytes | None = None) -> bytes:
        about = Request(self.key.public, claim.id, self.board, self.product, self.hardware, nonce, trust)
        return enrolment.encode_request(about, self.key.seed_for("release"), claim.secret)

    def enrol(self, server: ServerProcess, claim: Claim, trust: bytes | None = None) -> Answer:
        """Enrols; the answer, verified."""
        nonce = secrets.token_bytes(16)
        answer = post(server, self.asks(claim, nonce, trust))
        assert answer.status_code == 200, answer.text
        return enrolment.open_answer(answer.content, claim.secret, nonce)

    def refused(self, server: ServerProcess, claim: Claim, trust: bytes | None = None) -> str:
        """Does not; the word for why."""
        return reason(post(server, self.asks(claim, secrets.token_bytes(16), trust)))


def post(server: ServerProcess, body: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/api/v1/enrol", content=body, headers=KIND, timeout=limit(60))


def reason(answer: httpx.Response) -> str:
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["remedy"]
    return answer.json()["type"].rpartition("/")[2]


def print_of(store: bytes) -> bytes:
    return hashlib.sha256(store).digest()[:16]
