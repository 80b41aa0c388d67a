"""What this device is and has, as verifying, planning and fetching need it: values that stay when
the code that made them or uses them is let go of (gate.ondemand).
"""


class Site:
    """device: its id; vendor_id, class_id: 16 bytes each, for SUIT's conditions; payloads:
    (scheme, host, port, path) that payload addresses are relative to; https: the TLS context for
    them, or None; hardware: print of the board, 8 bytes; feed(): called per block of long work;
    fetching: whether a payload is on its way, of which there is one at a time; updating: updates
    and data components at work; heavy: the heavy command being carried out, or None. Such a
    command is refused while something is updated, and what is to be updated waits for it.
    """

    def __init__(self, board, feed, device, vendor_id, class_id, payloads):
        self.device = device
        self.vendor_id = vendor_id
        self.class_id = class_id
        self.payloads = payloads
        self.https = None
        self.hardware = None
        self.feed = feed
        self.fetching = False
        self.updating = 0
        self.heavy = None
        self._board = board

    def keys(self):
        """The device's gate.trust.storage.Keeper, read anew. Only inside `with
        ondemand.modules`.
        """
        import ed25519

        from gate.trust.storage import Keeper

        folder = self._board.folder
        if not ed25519.native():
            from gate.files import State
            from gate.trust.key_tables import Pins

            ed25519.tables = Pins(State(folder + "/state"), self.feed).table
        return Keeper(folder, self._board.sync)
