"""Checks a slot's image before it may be mounted: its SHA-256, and its signed manifest where the
board's options require one.
"""

from boot import manifests, options, record, slots


class InvalidImage(Exception):
    """The slot may not be booted. reason: a number of record.REASONS."""

    def __init__(self, reason, text):
        super().__init__(text)
        self.reason = reason


class Verifier:
    """Checks the slots of one board."""

    def __init__(self, board, board_slots, board_options, feed):
        """board_slots: from storage.open_slots; board_options: options.Options; feed(): the
        watchdog's.
        """
        self._board = board
        self._slots = board_slots
        self._signed = board_options.verify == options.SIGNATURE
        self._feed = feed

    def image(self, slot, index):
        """The slot's verified Image; raises InvalidImage. slot: its record.Slot."""
        self._check_record(slot)
        try:
            image = self._slots.image(index, slot.size)
        except slots.SlotError as error:
            raise InvalidImage(record.DAMAGED, str(error))
        try:
            if image.digest(self._feed) != slot.digest:
                raise _damaged()
            self._check_firmware(image)
            self._check_signature(slot, index)
        except Exception as error:
            image.close()  # an open file occupies flash even after it was replaced
            if isinstance(error, OSError):
                raise InvalidImage(record.DAMAGED, "slot %s: %r" % (slots.NAMES[index], error))
            raise
        return image

    def check(self, slot, index):
        """As image(), for a slot that is not booted now."""
        self.image(slot, index).close()

    def problem(self, slot, index):
        """As check(), but returns a line for people: why the loader would not boot the slot, or
        None if it would.
        """
        try:
            self.check(slot, index)
        except InvalidImage as error:
            return str(error)
        return None

    def _check_record(self, slot):
        if slot.state == record.EMPTY or not 0 < slot.size <= self._slots.capacity:
            raise InvalidImage(record.DAMAGED, "no image")

    def _check_firmware(self, image):
        head = bytearray(min(slots.HEAD, image.size))
        image.readinto(0, head)
        try:
            slots.check_firmware(self._board, head)
        except slots.FirmwareError as error:
            raise InvalidImage(record.DAMAGED, str(error))

    def _check_signature(self, slot, index):
        if not self._signed:
            return
        from boot import signature

        manifest = manifests.read(self._board, index)
        keys = manifests.read_trust(self._board, index)
        try:
            signature.check(self._board, slot, manifest, keys, self._feed)
        except signature.SignatureError as error:
            raise InvalidImage(record.SIGNATURE, str(error))


def _damaged():
    return InvalidImage(record.DAMAGED, "not the image of its boot record")
