"""What the device says about updates: their phases, and the report messages (docs/reports.md)."""

import cbor

from gate.clock import const

# phases of an update, docs/wire.cddl
OFFERED = const(1)
FETCHING = const(2)
APPLYING = const(3)
INSTALLED = const(4)
TRIAL = const(5)
CONFIRMED = const(6)
ROLLED_BACK = const(7)
REFUSED = const(8)
FAILED = const(9)
CURRENT = const(10)

# phase -> state and result of LwM2M object 5; a failure brings its own result
_LWM2M = {
    OFFERED: (1, 0),
    FETCHING: (1, 0),
    APPLYING: (2, 0),
    INSTALLED: (3, 0),
    TRIAL: (3, 0),
    CONFIRMED: (0, 1),
    ROLLED_BACK: (0, 8),
    CURRENT: (0, 1),
}
_DETAIL_SIZE = const(160)  # bytes


def shorten(text, size=_DETAIL_SIZE):
    """The text cut to at most `size` bytes of UTF-8, as a message takes it."""
    data = text.encode()
    if len(data) <= size:
        return text
    while size and data[size] & 0xC0 == 0x80:  # not in the middle of a character
        size -= 1
    return data[:size].decode()


class Reporter:
    """Makes report messages of one boot and hands them to the outbox. state, result: of LwM2M
    object 5, the latest.
    """

    def __init__(self, nonce, outbox, settled):
        """settled() is called when an update has come to an end, whatever end."""
        self._nonce = nonce
        self._outbox = outbox
        self._settled = settled
        self.state = 0
        self.result = 0

    def report(
        self,
        phase,
        sequence,
        manifest_digest=None,
        failure=None,
        detail=None,
        progress=None,
        component=None,
    ):
        """manifest_digest: SHA-256 or None if it is not known; progress: (done, total) bytes;
        component: the name of a data component, if it is about one and not about the image.
        """
        state, result = _LWM2M[phase] if failure is None else (0, failure.result)
        if component is None:
            self.state, self.result = state, result
        message = {
            2: self._nonce,
            4: True if failure is None else {5: failure.code, 7: failure.reason},
            -257: [state, result],
            -258: phase,
            -259: sequence,
        }
        if manifest_digest:
            message[99] = [[-16, manifest_digest]]
        text = detail or (failure.detail if failure else "")
        if text:
            message[-260] = shorten(text)
        if progress:
            message[-261] = list(progress)
        if component:
            message[-262] = component
        # Progress is worth nothing later; everything else is kept until it has arrived.
        self._outbox.add("report", cbor.dumps(message), keep=progress is None)
        if not state:
            self._settled()
