"""What this device is and has, as verifying, planning and fetching need it: values that stay when
the code that made them or uses them is let go of (gate.ondemand).
"""


class Device:
    """id: its name; vendor_id, class_id: 16 bytes each, for SUIT's conditions; payloads: (scheme,
    host, port, path) that payload addresses are relative to; https: the TLS context for them, or
    None; hardware: fingerprint of the board, 8 bytes; random(count): the board's random bytes;
    folder, sync: where its files are, and the board's function that makes them durable; feed():
    called per block of long work.

    fetching: whether a payload is on its way, of which there is one at a time; updating: updates
    and data components at work; heavy: the heavy command being carried out, or None. Such a
    command is refused while something is updated, and what is to be updated waits for it.
    """

    def __init__(self, board, feed, id, vendor_id, class_id, payloads):
        self.id = id
        self.vendor_id = vendor_id
        self.class_id = class_id
        self.payloads = payloads
        self.https = None
        self.hardware = None
        self.folder = board.folder
        self.sync = board.sync
        self.random = board.random
        self.feed = feed
        self.fetching = False
        self.updating = 0
        self.heavy = None
