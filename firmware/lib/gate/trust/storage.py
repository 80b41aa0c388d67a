"""Stores the trust store in two files, and never goes back to an older one.

Each file is replaced as a whole (gate.files). A new store is written to the copy first, then to
the file that was flashed; at each start the newer valid one is used and the other is made equal.
So a power cut leaves the old store or the new one, a damaged file does no harm, and flashing an
older store by mistake restores no dropped key. docs/trust.md says how to start over.
"""

from gate import ConfigError, console
from gate.files import SmallFiles
from gate.trust import store as trust_store

FILE = "trust.cbor"  # as flashed
COPY = "trust-copy.cbor"


def open(device):
    """The Storage of a gate.device.Device, read anew. Only inside `with ondemand.modules`.
    Raises ConfigError.
    """
    import ed25519

    if not ed25519.native():
        try:
            from gate.trust.key_tables import KeyTables

            ed25519.tables = KeyTables(SmallFiles(device.folder + "/state"), device.feed).table
        except ImportError:  # an image with machine code, which found no memory; slower without
            pass
    return Storage(device.folder, device.sync)


class Storage:
    """The trust store of this device. Always read keys through this object: rotation replaces
    them. store: gate.trust.store.TrustStore.
    """

    def __init__(self, folder, sync=None):
        """folder: where the files are; sync(folder): the board's. Raises ConfigError, with the
        remedy, if none is usable.
        """
        self._files = SmallFiles(folder, sync)
        flashed, problem = self._read(FILE)
        copy, _ = self._read(COPY)
        if flashed is None and copy is None:
            raise ConfigError(
                "%s: %s; flash it (tidegate flash --trust)" % (self._files.path(FILE), problem)
            )
        # On a tie the flashed one is used: flashing a store of the same version is intended.
        if copy is not None and (flashed is None or copy[0].version > flashed[0].version):
            console.error(
                "%s (%s) is not used: this device already had version %d of the trust store",
                self._files.path(FILE),
                problem or "version %d" % flashed[0].version,
                copy[0].version,
            )
            flashed = copy
        self.store, data = flashed
        for name in (COPY, FILE):
            if self._files.read(name) != data:
                self._try_write(name, data)

    @property
    def version(self):
        return self.store.version

    def find(self, role, kid):
        return self.store.find(role, kid)

    def kids(self, role):
        return self.store.kids(role)

    def quorum(self, role, signatures, feed):
        return self.store.quorum(role, signatures, feed)

    def holds(self, data):
        """Whether these bytes (or None) are the encoded store."""
        return data is not None and self._files.read(FILE) == data

    def replace(self, store, data):
        """Replaces the store; `data`: its encoding. Raises OSError if the old one stays."""
        self._files.write(COPY, data)
        self.store = store  # from here on a restart finds it
        self._try_write(FILE, data)

    def _read(self, name):
        """((TrustStore, bytes), None) of a file, or (None, what is wrong with it)."""
        data = self._files.read(name)
        if data is None:
            return None, "it is missing, so nothing could be verified"
        try:
            store = trust_store.parse(data)
        except ValueError as error:
            return None, str(error)
        if not store.kids(trust_store.RELEASE):
            return None, "it holds no release key, so no update could ever be accepted"
        return (store, data), None

    def _try_write(self, name, data):
        """Writes one of the files; if it fails, the next start repairs it from the other."""
        try:
            self._files.write(name, data)
        except OSError as error:
            console.error("%s could not be written: %r", self._files.path(name), error)
