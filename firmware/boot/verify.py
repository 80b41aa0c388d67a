"""Whether what a slot holds may be mounted: its SHA-256, and its signed manifest where the board
is told to want one.
"""

import gc

from boot import manifests, options, record, slots


class Unfit(Exception):
    """The slot may not be booted. reason: a number of record.REASONS."""

    def __init__(self, reason, text):
        super().__init__(text)
        self.reason = reason


class Verifier:
    """Judges the slots of one board."""

    def __init__(self, board, place, told, feed):
        """place: what slots.of gives; told: options.Options; feed(): the watchdog's."""
        self._board = board
        self._place = place
        self._signed = told.verify == options.SIGNATURE
        self._feed = feed

    def image(self, slot, index):
        """The slot's image as a memoryview, verified; raises Unfit. slot: its record.Slot."""
        self._check_record(slot)
        gc.collect()  # an image in RAM wants one piece
        try:
            image = self._place.image(index, slot.size)
        except slots.SlotError as error:
            raise Unfit(record.DAMAGED, str(error))
        except MemoryError:
            raise Unfit(record.MEMORY, "no %d bytes of RAM for the image" % slot.size)
        if slots.digest(image, self._feed) != slot.digest:
            raise _damaged()
        self._check_signature(slot, index)
        return image

    def check(self, slot, index):
        """As image(), without needing its RAM."""
        self._check_record(slot)
        if self._place.digest(index, slot.size, self._feed) != slot.digest:
            raise _damaged()
        self._check_signature(slot, index)

    def _check_record(self, slot):
        if slot.state == record.EMPTY or not 0 < slot.size <= self._place.capacity:
            raise Unfit(record.DAMAGED, "no image")

    def _check_signature(self, slot, index):
        if not self._signed:
            return
        from boot import signature

        manifest = manifests.read(self._board, index)
        keys = manifests.read_trust(self._board, index)
        try:
            signature.check(self._board, slot, manifest, keys, self._feed)
        except signature.SignatureError as error:
            raise Unfit(record.SIGNATURE, str(error))


def _damaged():
    return Unfit(record.DAMAGED, "not the image its boot record tells of")
