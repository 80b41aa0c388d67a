"""Turns a board with a claim into a device: makes its key, sends key and claim to the server, and
stores the answer (docs/enrolment.md). Once in a board's life; imported on demand.

The claim's secret and the private key never leave the board. The answer is stored in one file
after the other, each replaced as a whole, credentials.json last: with it the board is a device;
without it, it sends the request again, with the same key, and gets the same answer.
"""

import asyncio
import gc
import json
from hashlib import sha256

from http_client.get import HttpError
from http_client.post import post

from gate import ConfigError, console, identity
from gate.clock import const, sleep_ms
from gate.enrolment.claim import Claim, Refused
from gate.files import SmallFiles
from gate.proof import KEY, quietly

CLAIM = "claim"
_TRUST = "trust.cbor"
_TRUST_COPY = "trust-copy.cbor"
_CREDENTIALS = "credentials.json"

_KIND = "application/cbor"
_ROOM = const(2304)  # bytes for the header and the body of the answer
_ANSWER_S = const(30)
_LINK_S = const(30)
_PAUSE_S = const(4)  # doubled each time
_PAUSE_MOST_S = const(300)
_REFUSED_S = const(60)
_PATIENCE = const(4)  # attempts of a board that has credentials it can go on with


class Enrolment:
    """One attempt of one boot to become a device."""

    def __init__(self, boot):
        self._boot = boot
        self._board = boot.board
        self._files = SmallFiles(boot.board.folder, boot.board.sync)

    def run(self):
        """Returns when there is nothing to do, or nothing that cannot wait; resets a board that
        has become a device. Raises ConfigError.
        """
        try:
            claim = Claim((self._files.read(CLAIM) or b"").decode())
        except (ValueError, UnicodeError):
            console.error(
                "%s is not a valid claim; put it on the board again", self._files.path(CLAIM)
            )
            return
        old = self._credentials()
        if old is not None and old.get("claim") == claim.name:
            self._files.remove(CLAIM)  # the power was cut after the credentials were stored
            return
        from gate.settings.config import Config

        config = Config(self._board.folder, self._board.name, secrets=False)
        console.set_level(config.log_level)
        if config.enrol[0] == "coap":
            raise ConfigError("config.json: enrol is missing: enrolment needs http or https")
        if config.uplink == "usb":
            from gate.link import usb

            usb.use(self._board)
        enrolled = asyncio.run(self._send(claim, config, old is not None))
        if enrolled is None:
            return
        try:
            self._store(claim, enrolled)
        except OSError as error:
            raise ConfigError("the server's answer cannot be stored: %r; free some space" % error)
        console.info("enrolled as %s, group %s; starting anew", enrolled.device, enrolled.group)
        self._boot.release_attempt()
        self._boot.reset()

    # ------------------------------------------------------------ sending

    async def _send(self, claim, config, may_give_up):
        """The Enrolled that the server answers; None to go on with the credentials there are."""
        feeding = asyncio.create_task(self._feed())
        try:
            return await self._attempts(claim, config, may_give_up)
        finally:
            feeding.cancel()

    async def _attempts(self, claim, config, may_give_up):
        gc.collect()
        buf = bytearray(_ROOM)
        self._board.network_up()
        ssl = None
        if config.enrol[0] == "https":
            from gate.link.tls import context

            ssl = context(self._board)
        pause = _PAUSE_S
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._link()
                return await self._attempt(claim, config, ssl, buf)
            except Refused as error:
                console.error("enrolment: claim %s: %s", claim.name, error)
                if may_give_up:
                    return None
                pause = max(pause, _REFUSED_S)
            except (HttpError, OSError) as error:
                console.info("enrolment: %s; again in %d s", error, pause)
                if may_give_up and attempt == _PATIENCE:
                    return None
            # A fleet that lost its power together must not send together.
            await sleep_ms(pause * 1000 + self._board.random(1)[0] * pause * 2)
            pause = min(2 * pause, _PAUSE_MOST_S)

    async def _attempt(self, claim, config, ssl, buf):
        nonce = self._board.random(16)
        trust = None if self._has_trust(claim) else claim.trust
        body = quietly(lambda: self._request(claim, config, nonce, trust))
        _, host, port, path = config.enrol
        status, answer = await post(
            host, port, path + "api/v1/enrol", _KIND, body, buf, _ANSWER_S, ssl
        )
        if status >= 500 or status == 429:
            raise HttpError(status, _why(answer))
        if status != 200:
            raise Refused(_why(answer))
        return claim.open(bytes(answer), nonce, trust)

    def _request(self, claim, config, nonce, trust):
        from ed25519.sign import Key

        key = Key(self._seed(), self._boot.watchdog.feed)
        hardware = identity.hardware(self._board)
        return claim.request(key, config.board, config.product, hardware, nonce, trust)

    def _seed(self):
        """The board's own private key; made the first time."""
        seed = self._files.read(KEY)
        if seed is None or len(seed) != 32:
            seed = self._board.random(32)
            self._files.write(KEY, seed)
            console.info("the board has made a key of its own")
        return seed

    def _has_trust(self, claim):
        flashed = self._files.read(_TRUST) or self._files.read(_TRUST_COPY)
        if not flashed:
            return False
        if sha256(flashed).digest()[:16] != claim.trust:
            console.info("the claim names another trust store; the one that is here stays")
        return True

    async def _link(self):
        for _ in range(_LINK_S):
            if self._board.link():
                return
            await sleep_ms(1000)
        raise HttpError(0, "the network is down")

    async def _feed(self):
        while True:
            self._boot.watchdog.feed()
            await sleep_ms(1000)

    # ------------------------------------------------------------ storing

    def _store(self, claim, enrolled):
        if enrolled.trust is not None:
            self._files.write(_TRUST, enrolled.trust)
        credentials = {
            "device": enrolled.device,
            "user": enrolled.device,
            "password": claim.password(enrolled.salt),
            "coap_key": claim.coap_key(enrolled.salt),
            "claim": claim.name,
        }
        self._files.write(_CREDENTIALS, json.dumps(credentials).encode())
        self._files.remove(CLAIM)

    def _credentials(self):
        """The object in credentials.json; None if it is missing or not valid."""
        try:
            found = json.loads(self._files.read(_CREDENTIALS) or b"")
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


def _why(answer):
    """The text of an application/problem+json answer, for people: printable characters only."""
    try:
        found = json.loads(bytes(answer))
        text = ". ".join((found["detail"], found["remedy"]))  # raises for what is not text
    except (ValueError, KeyError, TypeError, MemoryError, RuntimeError):  # it may be nested deep
        return "no reason was given"
    return "".join(char if 32 <= ord(char) < 127 else "?" for char in text[:240])
