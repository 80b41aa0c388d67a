"""CoAP's message layer (RFC 7252 section 4): retransmission and detection of duplicates."""

from os import urandom

from coap.message import const
from coap.udp import send, ticks_diff, ticks_ms

_MAX_RETRANSMIT = const(4)  # section 4.8
_EXCHANGE_LIFETIME_MS = const(247000)
_GIVEN_UP = const(2)


class Outbox:
    """Confirmable messages that are not acknowledged yet, and retransmitted.

    tick() must be called often. A message's bytes must not change until it has ended: then
    owner.ended(outcome) is called, if there is an owner. outcome: 0 acknowledged, 1 reset, 2 given
    up.
    """

    def __init__(self, sock, ack_timeout_s):
        self._sock = sock
        self._timeout = int(ack_timeout_s * 1000)
        self.waiting = []  # [mid, peer, view, owner, repetitions left, interval, sent at]

    def send(self, mid, view, owner, peer=None):
        # Times 1 to 1.5 at random, and doubled at every repetition (section 4.2).
        interval = self._timeout + self._timeout * urandom(1)[0] // 512
        self.waiting.append([mid, peer, view, owner, _MAX_RETRANSMIT, interval, ticks_ms()])
        send(self._sock, view, peer)

    def end(self, outcome, mid, peer=None):
        """Ends the message with this id; returns False if there is none."""
        for entry in self.waiting:
            if entry[0] == mid and entry[1] == peer:
                self._end(entry, outcome)
                return True
        return False

    def forget(self, owner):
        """Ends all messages of an owner without calling it."""
        self.waiting = [entry for entry in self.waiting if entry[3] is not owner]

    def tick(self):
        now = ticks_ms()
        for entry in list(self.waiting):
            if ticks_diff(now, entry[6]) < entry[5] or entry not in self.waiting:
                continue
            if entry[4]:
                entry[4] -= 1
                entry[5] *= 2
                entry[6] = now
                send(self._sock, entry[2], entry[1])
            else:
                self._end(entry, _GIVEN_UP)

    def _end(self, entry, outcome):
        self.waiting.remove(entry)
        if entry[3]:
            entry[3].ended(outcome)


class Recent:
    """The messages received last and their replies, to answer a duplicate alike (4.5).

    Bounded: of more than `size` in EXCHANGE_LIFETIME the oldest are forgotten.
    """

    def __init__(self, size):
        self._ring = [None] * size
        self._next = 0

    def find(self, mid, peer=None):
        """The entry [mid, peer, when, reply] of a message received before, or None."""
        for entry in self._ring:
            if entry and entry[0] == mid and entry[1] == peer:
                return entry if _is_recent(entry) else None
        return None

    def purge(self):
        """Forgets what is too old. To be called every few days at least: ticks wrap around."""
        for at in range(len(self._ring)):
            if self._ring[at] and not _is_recent(self._ring[at]):
                self._ring[at] = None

    def add(self, mid, reply, peer=None):
        """Adds a message and its reply (None until there is one); returns the entry."""
        entry = [mid, peer, ticks_ms(), reply]
        self._ring[self._next] = entry
        self._next = (self._next + 1) % len(self._ring)
        return entry


def _is_recent(entry):
    return 0 <= ticks_diff(ticks_ms(), entry[2]) < _EXCHANGE_LIFETIME_MS
