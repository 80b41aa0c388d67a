"""What a simulated board is and says: its identity, what it runs, this boot, and its messages. No life of its own."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from dataclasses import dataclass
from functools import cached_property

import nacl.signing

from tidegate.simulate import nature as natures
from tidegate.simulate.accounts import Account
from tidegate.simulate.figures import Figures
from tidegate.simulate.http import Site
from tidegate.simulate.images import Running
from tidegate.simulate.mqtt import KEEPALIVE_S, Link
from tidegate.simulate.offers import Offers
from tidegate.simulate.outbox import TELEMETRY, Message, Outbox
from tidegate.simulate.scenario import Scenario
from tidegate.wire import messages, proofs, senml

_NONCE = 8  # bytes
_STREAM = "env"
_MEASURES = (("temperature", "Cel"), ("supply", "V"), ("heap", "B"))
_HEAP = 100_000  # free bytes of a board after its start, about
_NOISE = 0.02  # of the heap, from one measurement to the next


@dataclass(frozen=True)
class Place:
    """Where devices connect to, and what they share."""

    scenario: Scenario
    broker: tuple[str, int]
    broker_tls: ssl.SSLContext | None
    payloads: Site
    offers: Offers


class Device:
    """One device. link: its connection, while there is one; off_until: when it is up again (time.monotonic)."""

    def __init__(self, account: Account, place: Place, figures: Figures, running: Running) -> None:
        self.account = account
        self.id = account.id
        self.place = place
        self.figures = figures
        self.running = running
        self.nature = natures.of(place.scenario, account.id)
        self.dice = self.nature.random("board")
        self.outbox = Outbox(figures)
        self.link: Link | None = None
        self.off_until = 0.0
        self.trial = False
        self.update_state = self.update_result = 0
        self.reset_cause = "power-on"
        self.nonce = secrets.token_bytes(_NONCE)
        self.proof: bytes | None = None
        self.data: dict[str, tuple[int, bytes]] = {}  # component -> sequence number and digest of what it holds
        self.trust_version = place.offers.first_trust
        self.filed_packs = 0  # acknowledged, each once
        self._pack = secrets.randbits(29)  # as the nonce not by the seed: another run is another boot
        self._spoke_at = 0.0
        self._started_at = time.monotonic()
        self._updated_at: float | None = None  # in this run
        self._own_heap = _HEAP * self.nature.random("heap").uniform(0.9, 1.1)
        self._topics: dict[str, bytes] = {}

    @property
    def is_online(self) -> bool:
        return self.link is not None and self.link.open and self.outbox.link is not None

    @property
    def component(self) -> str | None:
        """The data component that its application knows."""
        return self.place.scenario.fleet.data

    @cached_property
    def seed(self) -> bytes:
        return bytes.fromhex(self.account.seed)

    @cached_property
    def public(self) -> bytes:
        return bytes(nacl.signing.SigningKey(self.seed).verify_key)

    def say(self, kind: str, topic: str, payload: bytes, done: asyncio.Event | None = None) -> None:
        """To be acknowledged, however many connections that takes."""
        self._spoke_at = time.monotonic()
        self.outbox.add(Message(kind, self._topic(topic), payload, done=done))

    def announce(self) -> None:
        """State and birth, retained."""
        state = messages.encode("state", online=True, update_state=self.update_state, update_result=self.update_result)
        said = [("state", state), ("birth", self._birth())]
        self._spoke_at = time.monotonic()
        self.outbox.first(*(Message(kind, self._topic(kind), payload, retain=True) for kind, payload in said))

    def measure(self) -> int:
        """One pack of telemetry; returns its number."""
        number = self.next_pack()
        values = [
            (name, self._heap() if name == "heap" else round(20 + 5 * self.dice.random(), 2), unit)
            for name, unit in _measures(self.place.scenario.values)
        ]
        self.say(TELEMETRY, f"tele/{_STREAM}", senml.encode(self.id, values, number))
        return number

    def _heap(self) -> float:
        """Free bytes now: with an update that leaks less from minute to minute, until the next reset."""
        since = None if self._updated_at is None else max(self._started_at, self._updated_at)
        minutes = 0.0 if since is None else (time.monotonic() - since) / 60
        left = max(0.0, 1 - self.place.scenario.update.leaks * minutes)
        return float(round(self._own_heap * left * self.dice.gauss(1, _NOISE)))

    def updated(self) -> None:
        """It has something new of this run, which may leak."""
        self._updated_at = time.monotonic()

    def went_back(self) -> None:
        """It has what it had before."""
        self._updated_at = None

    def next_pack(self) -> int:
        """The number of a new pack, on whichever stream: a board has one count."""
        self._pack = (self._pack + 1) & 0x3FFFFFFF
        return self._pack

    def keep_alive(self, now: float) -> None:
        """A ping if it has said nothing for half its keepalive."""
        if self.is_online and now - self._spoke_at > KEEPALIVE_S / 2 and self.link is not None:
            self._spoke_at = now
            self.link.ping()

    def restart(self, seconds: float, cause: str) -> None:
        """A reset: gone without goodbye, with what is in RAM only; after so long another boot, with another nonce."""
        self.off_until = time.monotonic() + seconds
        self.nonce = secrets.token_bytes(_NONCE)
        self.reset_cause = cause
        self.proof = None
        self._started_at = self.off_until
        self.outbox.forget()
        if self.link is not None:
            self.link.abort()

    def hang(self) -> None:
        """From now on nothing is said or heard; the connection stays until a restart."""
        self.outbox.link = None
        if self.link is not None:
            self.link.stop_reading()

    def acknowledged(self, number: int) -> None:
        """The broker has what was numbered so."""
        message = self.outbox.acknowledged(number)
        if message is not None and message.kind == TELEMETRY:
            self.filed_packs += 1

    def _birth(self) -> bytes:
        return messages.encode(
            "birth",
            protocol=proofs.PROTOCOL,
            board=self.place.scenario.fleet.board,
            product=self.place.scenario.fleet.product,
            version=self.running.version,
            sequence=self.running.sequence,
            digest=self.running.digest,
            nonce=self.nonce,
            reset_cause=self.reset_cause,
            trial=self.trial,
            micropython="1.25.0",
            trust_version=self.trust_version,
            data=None if self.component is None else {name: list(held) for name, held in self.data.items()},
            hardware=self.account.hardware,
            proof=self.proof,
        )

    def sign(self) -> None:
        """As a board does it some time after it has started: announced again, with the proof."""
        proof = proofs.BirthProof(self.public, self.id, self.nonce, self.account.hardware)
        self.proof = proofs.encode_birth(proof, self.seed)
        self.announce()

    def _topic(self, name: str) -> bytes:
        if name not in self._topics:
            self._topics[name] = f"tg/{self.id}/up/{name}".encode()
        return self._topics[name]


def _measures(count: int) -> list[tuple[str, str]]:
    more = [(f"m{number}", "Cel") for number in range(count - len(_MEASURES))]
    return [*_MEASURES[:count], *more]
