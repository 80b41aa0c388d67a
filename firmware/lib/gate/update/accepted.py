"""The image update that was accepted last. Its envelope and its record are files, so that a reset
at any moment resumes it and can report about it.
"""

from gate.update import OFFER

_RECORD = "update"  # [manifest digest, sequence]


def store(state, manifest, data):
    """Stores the envelope `data` (bytes) of a verified manifest; raises OSError. state: SmallFiles
    of the agent's state.
    """
    state.store(_RECORD, [manifest.digest, manifest.sequence])
    state.write(OFFER, data)


def load(state):
    """(manifest digest, sequence), or (None, None) if there is no valid record."""
    record = state.load(_RECORD)
    if isinstance(record, list) and len(record) == 2:
        return record[0], record[1]
    return None, None


def forget(state):
    """Removes both files."""
    state.remove(OFFER)
    state.remove(_RECORD)
