"""The signed manifests of the slots' images, kept beside them in files."""

from boot import const, slots

SIZE = const(2048)  # bytes of the largest; what the agent accepts
_FILES = ("/a.suit", "/b.suit")


def path(board, index):
    """Where the manifest of a slot's image is kept."""
    return slots.folder(board) + _FILES[index]


def read(board, index):
    """The envelope kept for a slot; b"" if there is none."""
    return slots.read_file(path(board, index), SIZE)


def keep(board, index, manifest):
    """Stores the envelope (bytes) that the slot's image came with; none: forgets the old one."""
    if not manifest:
        slots.remove_file(path(board, index))
    elif read(board, index) != manifest:
        slots.write_file(board, path(board, index), manifest)
