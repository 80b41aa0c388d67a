"""The boot record: which slot runs, which one is on trial, and how the last trial ended.

Two copies live in the ROM segment's first two blocks, or in two files. They are written
alternately; each has a counter and a CRC, and the newer valid one counts. Whatever is cut, the
other copy is whole, so a change either happened or did not.
"""

import struct
from binascii import crc32

from boot import const

NONE = const(0xFF)  # no slot
SLOTS = const(2)

# what a slot holds, and the word for each number
EMPTY = const(0)  # nothing, or a half-written image
INSTALLED = const(1)  # a whole image that was never confirmed
GOOD = const(2)  # an image that was confirmed once
STATES = ("empty", "installed", "good")

# how the last trial ended; 0: the agent has reported it
CONFIRMED = const(1)
ROLLED_BACK = const(2)
OUTCOMES = ("none", "confirmed", "rolled-back")

# why a trial (or the running slot) failed; docs/reports.md lists the numbers
WATCHDOG = const(1)
EXCEPTION = const(2)
TIMEOUT = const(3)
RESET = const(4)
ENDED = const(5)
DAMAGED = const(6)
POWER = const(7)
SIGNATURE = const(8)
MEMORY = const(9)
# only of an attempt: as the reason of an end it is TIMEOUT, a word old agents know
AWAY = const(10)
REASONS = (
    "none",
    "watchdog",
    "exception",
    "timeout",
    "reset",
    "ended",
    "damaged",
    "power",
    "signature",
    "memory",
)

_MAGIC = b"TGBR"
_VERSION = const(1)
_BAD = const(4)  # failed digests remembered, the oldest forgotten first
_HEAD = "<4sBBBBBBBBII"
_SLOT = "<IIBB2x32s"
_LAST = "<I32s"
_NO_DIGEST = bytes(32)
_SIZE = const(20 + SLOTS * 44 + 36 + _BAD * 32 + 4)


class RecordError(OSError):
    """The boot record reads back different from what was written: the storage is worn out."""


class Slot:
    """What one slot holds. state: one of STATES' numbers; size: bytes; digest: SHA-256 of those
    bytes; sequence: the release's number; patient: whether the agent that installed it tries it
    again later when its trial ended for a reason outside of it. Older loaders write 0 there.
    """

    def __init__(self, state=EMPTY, size=0, sequence=0, digest=_NO_DIGEST, patient=0):
        self.state = state
        self.size = size
        self.sequence = sequence
        self.digest = digest
        self.patient = patient


class Record:
    """The record in memory; Store.save writes it."""

    def __init__(self):
        self.counter = 0
        self.running = NONE  # the confirmed slot
        self.trial = NONE
        self.attempts = 0  # trial starts that count against the image
        self.starts = 0  # all trial starts, also those that a power cut ended
        self.reason = 0  # why the current attempt failed, if it could say so
        self.outcome = 0  # of the last trial, until the agent has reported it
        self.outcome_reason = 0
        self.floor = 0  # no image with a lower sequence number is accepted
        self.slots = [Slot() for _ in range(SLOTS)]
        self.last_sequence = 0  # the image that the outcome is about
        self.last_digest = _NO_DIGEST
        self.bad = []  # digests that failed their trial, newest last

    def mark_bad(self, digest):
        if digest not in self.bad:
            self.bad = (self.bad + [bytes(digest)])[-_BAD:]

    def end_trial(self, outcome, reason=0):
        """Ends the trial. outcome: CONFIRMED, or ROLLED_BACK with a reason of REASONS, or AWAY.

        The image is banned, unless what it failed at lies outside of it (no broker, a slot that
        lost bits, a manifest that is not trusted now) and who installed it is patient.
        """
        slot = self.slots[self.trial]
        outside = reason in (AWAY, DAMAGED, SIGNATURE) and slot.patient
        self.outcome, self.outcome_reason = outcome, TIMEOUT if reason == AWAY else reason
        self.last_sequence, self.last_digest = slot.sequence, slot.digest
        if outcome == CONFIRMED:
            self.running = self.trial
            self.floor = max(self.floor, slot.sequence)
            slot.state = GOOD
        else:
            if not outside:
                self.mark_bad(slot.digest)
            slot.state = EMPTY
        self.trial, self.attempts, self.starts, self.reason = NONE, 0, 0, 0


def _pack(record):
    parts = [
        struct.pack(
            _HEAD,
            _MAGIC,
            _VERSION,
            record.running,
            record.trial,
            record.attempts,
            record.starts,
            record.reason,
            record.outcome,
            record.outcome_reason,
            record.counter,
            record.floor,
        )
    ]
    for slot in record.slots:
        parts.append(_pack_slot(slot))
    parts.append(struct.pack(_LAST, record.last_sequence, record.last_digest))
    for index in range(_BAD):
        parts.append(record.bad[index] if index < len(record.bad) else _NO_DIGEST)
    data = b"".join(parts)
    return data + struct.pack("<I", crc32(data))


def _pack_slot(slot):
    return struct.pack(_SLOT, slot.size, slot.sequence, slot.state, slot.patient, slot.digest)


def _unpack(data):
    """The record in these bytes, or None if they are not a valid record."""
    if len(data) != _SIZE or struct.unpack("<I", data[-4:])[0] != crc32(data[:-4]):
        return None
    record = Record()
    (
        magic,
        version,
        record.running,
        record.trial,
        record.attempts,
        record.starts,
        record.reason,
        record.outcome,
        record.outcome_reason,
        record.counter,
        record.floor,
    ) = struct.unpack_from(_HEAD, data, 0)
    if magic != _MAGIC or version != _VERSION:
        return None
    at = struct.calcsize(_HEAD)
    for slot in record.slots:
        slot.size, slot.sequence, slot.state, slot.patient, slot.digest = struct.unpack_from(
            _SLOT, data, at
        )
        at += struct.calcsize(_SLOT)
    record.last_sequence, record.last_digest = struct.unpack_from(_LAST, data, at)
    at += struct.calcsize(_LAST)
    for _ in range(_BAD):
        digest = bytes(data[at : at + 32])
        at += 32
        if digest != _NO_DIGEST:
            record.bad.append(digest)
    if record.running >= SLOTS or (record.trial >= SLOTS and record.trial != NONE):
        return None
    return record


class Store:
    """Loads and saves the record: two copies, which the board's slots store."""

    def __init__(self, slots):
        """slots: the board's, from storage.open_slots."""
        self._slots = slots
        self._newest = 1  # so that the very first save goes to copy 0

    def load(self):
        """The newest valid record, or None on a blank board."""
        found = None
        for copy in range(2):
            # Once more if it is not valid: a read may go wrong, and the older copy is old news.
            record = self._read(copy) or self._read(copy)
            if record and (found is None or record.counter > found.counter):
                found = record
                self._newest = copy
        return found

    def _read(self, copy):
        return _unpack(self._slots.read_record(copy, _SIZE))

    def save(self, record):
        """Stores this record as the newest and reads it back; raises RecordError if it differs."""
        record.counter += 1
        data = _pack(record)
        copy = 1 - self._newest
        self._slots.write_record(copy, data)
        for _ in range(2):  # once more, as a read may go wrong
            if self._slots.read_record(copy, _SIZE) == data:
                self._newest = copy
                return
        raise RecordError("copy %d of the boot record is not what was written" % copy)
