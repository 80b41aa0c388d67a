"""In place of a ring (gate.telemetry.ring) in an image without one: packs wait in RAM alone, and
those for which there is no room are lost, oldest first.
"""


class NoRing:
    """As ring.Ring, always empty and always full."""

    newest = False
    removed = 0
    last = 0

    def __init__(self):
        self.lost = {}
        self.dropped = self.reported = 0

    def __bool__(self):
        return False

    def write(self, _buf, _size):
        return False

    def read(self, _buf, _at):
        return None

    def count(self, kind, records=1):
        self.dropped += records
        self.lost[kind] = self.lost.get(kind, 0) + records

    def save(self):
        pass
