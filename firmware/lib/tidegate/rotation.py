"""Takes new trust stores from the network: each signed by the root keys of the store before it and
by its own, and each exactly one version on (as The Update Framework rotates its root, section 5.3
of its specification). A device that slept through several takes them one after the other.
"""

import asyncio
import hashlib

import cose

from tidegate import alarms, console, trust
from tidegate.clock import const

MAX_SIZE = const(2048)  # bytes of a trust-update
_MAX_SIGNATURES = const(8)
_REMEMBERED = const(4)
_PROTECTED = {cose.TYP: "application/vnd.tidegate.trust+cbor"}


def judge(data, store, feed):
    """(TrustStore, its bytes) that a trust-update puts in the place of `store`; raises
    trust.Untrusted with the reason it does not.

    The order: size, form, the old quorum over bytes not yet looked into, then the new store, its
    version, its own quorum, and that it revokes what it drops.
    """
    if len(data) > MAX_SIZE:
        raise trust.Untrusted("too-large", "%d bytes, at most %d" % (len(data), MAX_SIZE))
    try:
        update = cose.decode_sign(data, _MAX_SIGNATURES, MAX_SIZE)
    except cose.CoseError as error:
        raise trust.Untrusted("malformed", str(error))
    if update.headers != _PROTECTED:
        raise trust.Untrusted("typ", "not typed as a trust store")
    signatures = _once(trust.signatures(update))
    store.quorum(trust.ROOT, signatures, feed)
    try:
        new = trust.parse(update.payload)
    except ValueError as error:
        raise trust.Untrusted("malformed", str(error))
    if new.version != store.version + 1:
        raise trust.Untrusted(
            "version", "version %d does not follow %d" % (new.version, store.version)
        )
    if not new.kids(trust.RELEASE):
        raise trust.Untrusted("malformed", "without a release key no update could be accepted")
    new.quorum(trust.ROOT, signatures, feed)
    for kid in store.revoked + _dropped(store, new):
        if kid not in new.revoked:
            raise trust.Untrusted("revoked", "a dropped key is not listed as revoked")
    return new, update.payload


def _dropped(old, new):
    """Ids of keys that no longer have the role they had."""
    return [kid for role in old.roles for kid in old.kids(role) if new.find(role, kid) is None]


def _once(signatures):
    """The same signatures, each verified at most once with a key: old and new store may share
    keys.
    """
    return [(kid, _remembering(verify)) for kid, verify in signatures]


def _remembering(verify):
    verdicts = {}

    def ask(public):
        if public not in verdicts:
            verdicts[public] = verify(public)
        return verdicts[public]

    return ask


class Rotation:
    """The agent's part that takes trust updates, one at a time."""

    def __init__(self, keeper, alarms_, feed, changed):
        """changed(): called when the device has another trust store."""
        self._keeper = keeper
        self._alarms = alarms_
        self._feed = feed
        self._changed = changed
        self._inbox = None
        self._refused = None  # hash of the last update refused: it is not answered again
        self._taken = []  # hashes of those taken in this boot: a broker may bring one twice
        self._arrived = asyncio.Event()

    def push(self, data):
        """Takes an update (bytes) from the network; the newest counts. Cheap: called from the MQTT
        reader.
        """
        self._inbox = data
        self._arrived.set()

    async def run(self, beat):
        """The task."""
        while True:
            await beat.wait(self._arrived)
            data, self._inbox = self._inbox, None
            if data is not None:
                self.handle(data)

    def handle(self, data):
        """Verifies one update and takes or refuses it."""
        seen = hashlib.sha256(data).digest()
        if seen == self._refused or seen in self._taken or self._is_current(data):
            return
        try:
            store, encoded = judge(data, self._keeper.store, self._feed)
        except trust.Untrusted as error:
            self._refused = seen
            self._alarms.raise_(alarms.TRUST_REFUSED, error.reason, error.detail)
            return
        try:
            self._keeper.replace(store, encoded)
        except OSError as error:
            self._alarms.raise_(alarms.TRUST_REFUSED, "storage", "%r" % error)
            return
        self._refused = None
        self._taken = self._taken[1 - _REMEMBERED :] + [seen]
        console.info("trust store version %d taken", store.version)
        self._changed()

    def _is_current(self, data):
        """Whether it brings what is here already, as the retained one does at each connection."""
        try:
            return self._keeper.holds(cose.decode_sign(data, _MAX_SIGNATURES, MAX_SIZE).payload)
        except cose.CoseError:
            return False
