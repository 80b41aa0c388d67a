"""Takes new trust stores from the network, one at a time, if they may replace the current one
(gate.trust.verify_rotation).
"""

import hashlib

from gate import console, ondemand
from gate.clock import const
from gate.reporting import alarms
from gate.tasks import Job

_REMEMBERED = const(4)


class Rotation:
    """The task that takes trust updates."""

    def __init__(self, device, alarms_, changed):
        """device: gate.device.Device; changed(version): called when the device has another trust
        store.
        """
        self._device = device
        self._alarms = alarms_
        self._changed = changed
        self._inbox = None
        self._refused = None  # hash of the last update refused: it is not answered again
        self._taken = []  # hashes of those taken in this boot: a broker may bring one twice
        self.arrived = Job()

    def push(self, data):
        """Takes an update (bytes) from the network; it replaces one that waits. b"": it was taken
        back. Cheap: called from the MQTT reader.
        """
        self._inbox = data or None
        self.arrived.set()

    async def run(self, beat):
        """The task of `arrived`."""
        data, self._inbox = self._inbox, None
        if data is not None:
            self.handle(data)

    def handle(self, data):
        """Verifies one update and takes or refuses it."""
        seen = hashlib.sha256(data).digest()
        if seen == self._refused or seen in self._taken:
            return
        with ondemand.modules:
            version = self._verify(data, seen)
        if version:
            self._refused = None
            self._taken = self._taken[1 - _REMEMBERED :] + [seen]
            console.info("trust store version %d taken", version)
            self._changed(version)

    def _verify(self, data, seen):
        """Returns the version taken; None if it is refused or is the current one, as the retained
        update is at each connection.
        """
        from gate.trust import storage, verify_rotation
        from gate.trust import store as trust_store

        stored = storage.open(self._device)
        if stored.holds(verify_rotation.payload(data)):
            return None
        try:
            store, encoded = verify_rotation.verify(data, stored.store, self._device.feed)
        except trust_store.Untrusted as error:
            self._refused = seen
            self._alarms.raise_(alarms.TRUST_REFUSED, error.reason, error.detail)
            return None
        try:
            stored.replace(store, encoded)
        except OSError as error:
            self._alarms.raise_(alarms.TRUST_REFUSED, "storage", "%r" % error)
            return None
        return store.version
