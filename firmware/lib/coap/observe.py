"""Observing with the CoAP client (RFC 7641): made by coap.client.Client.observe."""

import asyncio
from os import urandom

from coap.block import Body, CoapError
from coap.message import const, insert
from coap.udp import ticks_diff, ticks_ms

_MAX_OBSERVATIONS = const(8)  # of one client
_OBSERVE = const(6)
_MAX_AGE = const(14)
_FRESH_MS = const(128000)  # section 3.4: after so long every notification is newer
_MAX_AGE_S = const(60)  # unless the peer says (RFC 7252 section 5.10.5)
_LONGEST_AGE_S = const(86400)


class Observation:
    """An observation: next() returns the states; the newest, if several came meanwhile.

    active: whether the peer has accepted it; skipped: states that a newer one replaced; slack_s:
    seconds beyond Max-Age before it registers again (section 3.3.1 has 5 to 15).
    """

    def __init__(self, client, options, max_size, wait_ms):
        self.token = urandom(4)
        self.active = False
        self.skipped = 0
        self.slack_s = 10
        self._client = client
        self._options = options
        self._max_size = max_size
        self._wait = wait_ms
        self._body = None  # the newest state, at least its first block
        self._error = None
        self._changed = asyncio.Event()
        self._sequence = None
        self._since = 0
        self._age = 0

    async def next(self):
        """Waits for the next state and returns it, an Answer.

        After a silence longer than the peer's Max-Age it registers again. Raises CoapError:
        refused for an error code, ended if the peer dropped the observation, and those of a
        request; after timeout it may be called again.
        """
        while True:
            while not self._body:
                if self._error:
                    raise self._error
                if not self.active:
                    raise CoapError("ended", "the peer dropped the observation")
                self._changed.clear()
                # Ticks wrap around in days; a difference below 0 is such a long time.
                gone = ticks_diff(ticks_ms(), self._since) // 1000
                left = self._age + self.slack_s - gone if gone >= 0 else 0
                try:
                    await asyncio.wait_for(self._changed.wait(), max(left, 1))
                except asyncio.TimeoutError:
                    await self.register()
            body = self._body
            self._body = None
            try:
                while body.more:  # the rest is fetched, not pushed (RFC 7959 section 2.6)
                    options, _ = body.next(self._options)
                    await self._client.exchange(1, options, None, body, True, self._wait)
            except CoapError as error:
                if error.reason != "changed":
                    self.lapse()
                    raise
                if not self._body:
                    await self.register()
            else:
                return body.answer

    async def register(self):
        """Registers, or registers again; the current state is the next one. Raises CoapError."""
        self._sequence = self._error = None
        if self not in self._client.observations:
            if len(self._client.observations) >= _MAX_OBSERVATIONS:
                raise CoapError("size", "more than %d observations" % _MAX_OBSERVATIONS)
            self._client.observations.append(self)
        try:
            await self._ask(self, 0)
        except CoapError as error:
            if error.reason == "refused":
                self.close()
                self._error = error
            raise
        return self

    async def cancel(self):
        """Tells the peer to stop (section 3.6)."""
        self.close()
        await self._ask(Body(None, 0, self._max_size, None, self._client.szx, True), 1)

    def close(self):
        """Stops; the peer's next notification is answered with a reset."""
        self.active = False
        self._error = CoapError("closed", "the observation was closed")
        self._changed.set()
        if self in self._client.observations:
            self._client.observations.remove(self)

    def lapse(self):
        """Makes next() register again: notifications may have been lost."""
        self._age = -self.slack_s
        self._changed.set()

    async def _ask(self, step, observe):
        options = list(self._options)
        insert(options, _OBSERVE, observe)
        if self._client.szx < 6:
            insert(options, 23, self._client.szx)
        client = self._client
        await client.exchange(1, options, None, step, True, self._wait, False, self.token)

    def take(self, message):
        """Takes a notification or the answer to a registration; raises CoapError."""
        if message.code < 300:
            sequence = message.uint(_OBSERVE)
            if not self._newer(sequence):
                return
            self._sequence = sequence
            self.active = sequence is not None
            if not self.active and self in self._client.observations:
                self._client.observations.remove(self)
            self._since = ticks_ms()
            age = message.uint(_MAX_AGE, _MAX_AGE_S)
            self._age = min(age, _LONGEST_AGE_S)
        body = Body(None, 0, self._max_size, None, self._client.szx, True)
        body.take(message)
        self.skipped += self._body is not None
        self._body = body
        self._changed.set()

    def _newer(self, sequence):
        """Whether a notification is newer than the last one (section 3.4)."""
        last = self._sequence
        if last is None or sequence is None:
            return True
        if not 0 <= ticks_diff(ticks_ms(), self._since) <= _FRESH_MS:
            return True
        return 0 < (sequence - last & 0xFFFFFF) < 1 << 23

    def notified(self, message):
        """A notification has come."""
        try:
            self.take(message)
        except CoapError as error:
            self.close()
            self._error = error
