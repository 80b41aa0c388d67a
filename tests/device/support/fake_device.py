"""A gate.device.Device whose trust store is given, and stays."""

import sys

import gate.trust

_NAME = "gate.trust.storage"


class Signed:
    fetching = False
    updating = 0
    heavy = None
    https = None

    def __init__(self, name, store, vendor_id=b"", class_id=b""):
        self.id = name
        self.vendor_id = vendor_id
        self.class_id = class_id
        self.store = store
        if _NAME not in sys.modules:
            sys.modules[_NAME] = gate.trust.storage = _Storage
        sys.modules[_NAME].open = _Storage.open

    def feed(self):
        pass


class _Storage:
    """In the place of gate.trust.storage, with less RAM. It is loaded before ondemand looks, so it stays."""

    @staticmethod
    def open(device):
        return device.store
