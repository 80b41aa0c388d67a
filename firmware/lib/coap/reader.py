"""The body of a CoAP request that is read block by block; coap.client.Client makes it."""

from coap.block import CoapError


class Reader:
    """A body from an object with readinto(view) -> bytes read.

    Each piece begins where the one before began or ended, so a block can be sent again in smaller
    ones.
    """

    def __init__(self, source, size, szx):
        self._source = source
        self._size = size
        self._view = memoryview(bytearray(16 << szx))
        self._from = self._have = 0  # where in the body the view's bytes begin, how many they are

    def piece(self, at, limit):
        """A view of at most limit bytes from `at` on. Raises CoapError if the reader ends."""
        if at == self._from + self._have:
            self._from = at
            self._have = 0
            while self._have < min(limit, self._size - at):
                got = self._source.readinto(self._view[self._have : limit])
                if not got:
                    raise CoapError("size", "the reader ended before its %d bytes" % self._size)
                self._have += got
        start = at - self._from
        return self._view[start : min(start + limit, self._have)]
