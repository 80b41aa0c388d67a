"""The body of a CoAP request that comes from a reader: coap.Client makes it."""

from coap.block import CoapError


class Reader:
    """A body that comes from an object with readinto(view) -> bytes read, sliced like bytes.

    Slices begin where the one before began or ended: a block that is cut smaller is still there.
    """

    def __init__(self, source, size, szx):
        self._source = source
        self._size = size
        self._view = memoryview(bytearray(16 << szx))
        self._from = self._have = 0  # where in the body the view's bytes begin, how many they are

    def piece(self, at, most):
        if at == self._from + self._have:
            self._from = at
            self._have = 0
            while self._have < min(most, self._size - at):
                got = self._source.readinto(self._view[self._have : most])
                if not got:
                    raise CoapError("size", "the reader ended before its %d bytes" % self._size)
                self._have += got
        start = at - self._from
        return self._view[start : min(start + most, self._have)]
