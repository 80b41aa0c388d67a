"""The signed manifests of the slots' images, stored in files beside them, each with the trust
store that accepted it: a key that is removed later signs nothing new, but what it signed still
boots.
"""

from boot import const, slots

SIZE = const(2048)  # bytes of the largest; what the agent accepts
_FILES = ("/a.suit", "/b.suit")
_TRUST_SIZE = const(1024)
_TRUST = ("/a.trust", "/b.trust")


def path(board, index):
    """The path of the manifest of a slot's image."""
    return slots.folder(board) + _FILES[index]


def read(board, index):
    """The envelope stored for a slot, bytes; b"" if there is none."""
    return slots.read_file(path(board, index), SIZE)


def read_trust(board, index):
    """The trust store by which a slot's manifest was accepted; b"" if there is none."""
    return slots.read_file(slots.folder(board) + _TRUST[index], _TRUST_SIZE)


def store(board, index, manifest):
    """Stores the envelope (bytes) of the slot's image; None or b"" removes the old one."""
    trust = slots.read_file(board.folder + "/trust.cbor", _TRUST_SIZE)
    if trust and trust != read_trust(board, index):
        slots.write_file(board, slots.folder(board) + _TRUST[index], trust)
    if not manifest:
        slots.remove_file(path(board, index))
    elif read(board, index) != manifest:
        slots.write_file(board, path(board, index), manifest)
