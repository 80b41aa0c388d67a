"""Messages that must arrive: sent in order, stored over a reset until the broker has acknowledged
them.
"""

from gate import LinkError, console
from gate.clock import const, sleep_ms
from gate.tasks import Job

_MOST = const(16)  # messages; when full the oldest goes, of those that do not outlast others
_OUTLASTING = const(8)  # messages at most that do
_KEPT_SIZE = const(1400)  # bytes; a longer message is not stored over a reset
_KEPT = const(6000)  # bytes of all of them, the newest first
_PUBLISH_S = const(20)  # for one acknowledgement
_LOOK_MS = const(50)  # how often is looked whether all is sent
_FILE = "outbox"


class Outbox:
    """A bounded queue of (topic under up/, payload, whether it is stored over a reset, whether it
    outlasts others). dropped: messages that found no room; work: the Job of sending.
    """

    def __init__(self, link, state, outlasts=None):
        """link: has `connected` and the coroutine function publish(topic, payload, qos=,
        timeout_s=). outlasts(topic, payload): whether a message must not make room for others, of
        which somebody else may cause as many as he likes.
        """
        self._link = link
        self._state = state
        self._outlasts = outlasts or (lambda topic, payload: False)
        self.queue = [entry + (self._outlasts(*entry[:2]),) for entry in _kept(state)]
        self._stored = bool(self.queue)
        self.work = Job()
        self.dropped = 0
        if self.queue:
            console.info("%d messages of the last boot are still to be sent", len(self.queue))
            self.work.set()

    def add(self, topic, payload, keep=True):
        """Queues a message; one that is not stored is dropped while there is no connection."""
        if not keep and not self._link.connected:
            return
        self.queue.append((topic, payload, keep, self._outlasts(topic, payload)))
        many = sum(entry[3] for entry in self.queue) > _OUTLASTING
        if many or len(self.queue) > _MOST:
            self.queue.remove(next(entry for entry in self.queue if entry[3] == many))
            self.dropped += 1
        self.work.set()
        if keep and not self._link.connected:
            self.save()

    def save(self):
        """Puts on the file system what has not arrived."""
        fits = []
        room = _KEPT
        for first in (True, False):  # those that outlast others have the room first
            for at in range(len(self.queue) - 1, -1, -1):
                _, payload, keep, outlasts = self.queue[at]
                if keep and outlasts == first and len(payload) <= min(_KEPT_SIZE, room):
                    fits.append(at)
                    room -= len(payload)
        stored = [list(self.queue[at][:2]) for at in sorted(fits)]
        try:
            if stored:
                self._state.store(_FILE, stored)
            elif self._stored:
                self._state.remove(_FILE)
            self._stored = bool(stored)
        except OSError as error:
            console.error("%d messages could not be stored: %s", len(stored), error)

    async def flush(self, timeout_s):
        """Waits until all is sent, at most so long; the rest is stored on the file system."""
        for _ in range(timeout_s * 1000 // _LOOK_MS):
            if not self.queue or not self._link.connected:
                break
            await sleep_ms(_LOOK_MS)
        self.save()

    async def run(self, beat):
        """The task of `work`: sends all that there is."""
        while self.queue:
            beat()
            if not self._link.connected:
                await beat.sleep(1)
                continue
            entry = self.queue[0]
            try:
                await self._link.publish(entry[0], entry[1], qos=1, timeout_s=_PUBLISH_S)
            except LinkError:
                self.save()
                continue
            if entry in self.queue:
                self.queue.remove(entry)
        if self._stored:
            self.save()


def _kept(state):
    """The messages in the file; none if it is not ours."""
    entries = state.load(_FILE, [])
    if not isinstance(entries, list):
        return []
    queue = []
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != 2:
            return []
        if not isinstance(entry[0], str) or not isinstance(entry[1], bytes):
            return []
        queue.append((entry[0], entry[1], True))
    return queue
