"""A device's gate.device.Site whose trust store is given, and stays."""


class Signed:
    fetching = False
    updating = 0
    heavy = None
    https = None

    def __init__(self, device, store, vendor_id=b"", class_id=b""):
        self.device = device
        self.vendor_id = vendor_id
        self.class_id = class_id
        self._store = store

    def feed(self):
        pass

    def keys(self):
        return self._store
