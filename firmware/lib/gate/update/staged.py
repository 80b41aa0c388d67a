"""The file of a payload that is fetched, or was: one in a folder, named by its digest."""

_PREFIX = "payload-"


def name(digest):
    return _PREFIX + digest[:8].hex()


def forget(state, keep=None):
    """Removes the staged payloads of a folder (gate.files.SmallFiles), but for the one named
    `keep`.
    """
    for found in state.names():
        if found.startswith(_PREFIX) and found != keep:
            state.remove(found)
