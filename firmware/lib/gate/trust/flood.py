"""Sifts a flood of messages of one kind, so that what is genuine among them has its turn.

- What is obviously nothing is dropped before it costs anything: by its size, its first bytes, by
  whether it names a key of the role at all; an envelope that is not whole, and a command that is
  not for this device, boot and counter. So is what was judged a moment ago.
- Of the rest a few wait, each chosen by another rule: the first, the last, one by chance, those
  with the lowest and the highest counter, of which those come last that fit the time they name.
  No single trick keeps a genuine one out of them all.
- After each that was nobody's comes a pause of three times as long as judging it took: a flood
  gets a quarter of the processor at most.

Loaded when a flood begins, and let go of when it is over (gate.ondemand).
"""

import os
from hashlib import sha256

import cbor

from gate.clock import const
from gate.trust import storage, store

_LEAST = const(64)  # bytes; a signature alone has so many
_REMEMBERED = const(16)  # judged messages whose hashes are remembered
_HASH = const(6)  # bytes of one
_TRIED_MOST = const(64)  # marks that are remembered
_TRIED = const(2)  # refused with one mark; others with it have but the place of chance
_SHARE = const(3)  # the pause is so many times what judging took
_PAUSE_MOST_MS = const(10_000)
_RANDOM = const(64)  # bytes at a time: they may come slowly
_WRAPPER_MOST = const(640)  # bytes of the digest and the signatures in an envelope

_FIRST = const(0)  # places
_LAST = const(1)
_CHANCE = const(2)
_LOW = const(3)
_HIGH = const(4)
_PLACES = const(5)

# Bytes of the largest message, and the first two of each form, by kind.
_FORMS = {
    "cmd": (1024, (0xD284, 0xD862)),  # COSE_Sign1 and COSE_Sign
    "trust": (2048, (0xD862,)),
    "offer": (2048, (0xD86B,)),  # SUIT envelope
}
_DIGEST = b"\x82\x2f\x58\x20"  # the head of a SUIT_Digest with SHA-256
# Between audience and counter in a command: exp and iat, of four bytes each.
_TIMES = const(12)
_SOON_S = const(5)
_CTI = b"\x07\x48"


class Flood:
    """lost: messages that nobody judged, or that were nobody's, since somebody set it to 0."""

    def __init__(self, intake):
        kind = intake.kind
        self._most, self._heads = _FORMS[kind.split("/")[0]]
        self._kids = _kids(kind, storage.open(intake.device))
        self._live = intake.live  # of commands: (nonce, counters, now())
        self._audience = cbor.dumps({3: intake.device.id})[1:]
        self._counted = kind == "cmd"
        self._whole = kind[:5] == "offer"
        self.places = {}
        self._turn = self._chances = 0
        self.lost = 0
        self._random, self._at = b"", 0
        self._judged = []
        self._tried = {}

    def sift(self, data):
        """Whether the message (bytes-like) waits now. Of most nothing is copied: what that leaves
        behind costs more than all else here.
        """
        if _LEAST < len(data) <= self._most and data[0] << 8 | data[1] in self._heads:
            part = data = memoryview(data) if self._whole else bytes(data)
            if self._whole:
                part = _wrapper(data)
            for kid in self._kids:
                if kid in part:
                    mark = self._mark(data, part)
                    if mark is not None and self._sift(data, mark):
                        return True
                    break
        self.lost += 1
        return False

    def _sift(self, data, mark):
        """Whether a message with this mark waits now."""
        chosen = self._by_chance()
        tried = self._tried.get(mark, 0)
        if not chosen and tried >= _TRIED:
            return False
        if (tried or not mark) and _hash(data) in self._judged:
            return False
        for _, waiting in self.places.values():
            if waiting == data:
                return False
        entry = mark, bytes(data)
        if chosen:
            self._put(_CHANCE, entry)
        places = self.places
        if tried >= _TRIED:
            pass
        elif not self._counted:
            self._put(_LAST, entry)
        elif _FIRST not in places:
            self._put(_FIRST, entry)
        elif _LOW not in places or mark < places[_LOW][0]:
            self._put(_LOW, entry)
        elif _HIGH not in places or mark > places[_HIGH][0]:
            self._put(_HIGH, entry)
        else:
            return chosen
        return True

    def _by_chance(self):
        """Whether this one of so many since the last was judged is the one."""
        self._chances += 1
        if self._at >= len(self._random) - 1:
            self._random, self._at = os.urandom(_RANDOM), 0
        at = self._at
        self._at = at + 2
        return (self._random[at] << 8 | self._random[at + 1]) % self._chances == 0

    def _put(self, place, entry):
        self.lost += place in self.places
        self.places[place] = entry

    def take(self):
        """The next message to judge, bytes, or None."""
        for _ in range(_PLACES):
            found = self.places.get(self._turn)
            self._turn = (self._turn + 1) % _PLACES
            if found:
                for place in list(self.places):
                    if self.places[place] is found:
                        del self.places[place]
                self._chances = 0
                return found[1]
        return None

    def refused(self, data, took_ms):
        """This one was judged; returns ms to wait before the next."""
        self.lost += 1
        self._judged = self._judged[1 - _REMEMBERED :] + [_hash(data)]
        mark = self._mark(data, _wrapper(data) if self._whole else data)
        if mark:
            if len(self._tried) >= _TRIED_MOST:
                self._tried.clear()
            self._tried[mark] = self._tried.get(mark, 0) + 1
        return min(max(took_ms, 1) * _SHARE, _PAUSE_MOST_MS)

    def left(self):
        """The messages that still wait, for calmer times."""
        found = []
        for _, data in self.places.values():
            if data not in found:
                found.append(data)
        return found

    def _mark(self, data, wrapper):
        """What another message of the same sender would not repeat; b"" if nothing is known, None
        for a message that cannot be genuine. wrapper: of an envelope, else not looked at.
        """
        if self._whole:
            return _manifest_digest(data, wrapper)
        return self._counter(data) if self._counted else b""

    def _counter(self, data):
        """The counter of a command that could be for this device, boot and counter."""
        nonce, counters, now = self._live
        at = data.find(self._audience)
        if at < 0 or (now() is None and nonce not in data):
            return None
        at += len(self._audience) + _TIMES
        if data[at : at + 2] != _CTI:
            return b""
        mark = data[at + 2 : at + 10]
        number = int.from_bytes(mark, "big")
        for kid in self._kids:
            if kid in data and number > counters.get(kid, -1):
                # `tidegate cmd send` counts in microseconds: its counters are as late as its iat.
                late = number // 1_000_000 - int.from_bytes(data[at - 4 : at], "big")
                return (b"\1" if -_SOON_S <= late <= _SOON_S else b"\0") + mark
        return None


def _kids(kind, keys):
    """Ids of the keys that could have signed a message of this kind."""
    if kind == "cmd":
        return keys.kids(store.COMMAND) + keys.kids(store.DIAGNOSE)
    return keys.kids(store.ROOT if kind == "trust" else store.RELEASE)


def _wrapper(data):
    """What an envelope holds beside the manifest, b"" if it is not whole. Without decoding: {2:
    bytes of the wrapper, which holds the digest and the signatures, 3: bytes of the manifest}.
    """
    if data[2] != 0xA2 or data[3] != 0x02:
        return b""
    at = _string_end(data, 4)
    if not 0 < at <= _WRAPPER_MOST or at >= len(data) or data[at] != 0x03:
        return b""
    if _string_end(data, at + 1) == len(data):
        return bytes(data[4:at])
    return b""


def _manifest_digest(data, wrapper):
    """The digest of the manifest in an envelope, None if it is not the one that is signed."""
    found = wrapper.find(_DIGEST)
    if found >= 0:
        digest = wrapper[found + 4 : found + 36]
        if sha256(memoryview(data)[4 + len(wrapper) + 1 :]).digest() == digest:
            return digest
    return None


def _string_end(data, at):
    """Where the byte string at data[at:] ends, 0 if there is none."""
    if at + 3 > len(data) or data[at] >> 5 != 2:
        return 0
    size = data[at] & 31
    if size < 24:
        return at + 1 + size
    if size == 24:
        return at + 2 + data[at + 1]
    return at + 3 + (data[at + 1] << 8 | data[at + 2]) if size == 25 else 0


def _hash(data):
    return sha256(data).digest()[:_HASH]
