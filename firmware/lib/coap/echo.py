"""Proof that a request was sent just now, from its address: Echo (RFC 9175 section 2)."""

from hashlib import sha256
from os import urandom

from coap.message import const
from coap.resource import Reply
from coap.udp import ticks_diff, ticks_ms

_FRESH_MS = const(30000)
_ECHO = const(252)
_secret = urandom(16)


def renew():
    """Makes every Echo handed out so far invalid; whoever has one is challenged once more."""
    global _secret
    _secret = urandom(16)


def challenge(request):
    """None if the request carries a fresh Echo of this peer, else the Reply with one."""
    for echo in request.values(_ECHO):
        if len(echo) == 12 and _proof(request, echo[:4]) == echo:
            age = ticks_diff(ticks_ms() & 0x3FFFFFFF, int.from_bytes(echo[:4], "big"))
            if 0 <= age < _FRESH_MS:
                return None
    now = (ticks_ms() & 0x3FFFFFFF).to_bytes(4, "big")
    return Reply(401, options=((_ECHO, _proof(request, now)),))


def _proof(request, now):
    # No state for a peer: the time, and what only this server can make of it and of the sender.
    return now + sha256(_secret + now + repr(request.peer).encode()).digest()[:8]
