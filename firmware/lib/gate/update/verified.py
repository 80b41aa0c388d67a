"""The first step of an offer: its envelope, verified. It needs memory most, and machine code in
one piece, so nothing else of an update is loaded before it, and what only it needs goes after it.
"""

import gc

from gate import ondemand

_ONLY_HERE = (
    "cose ed25519 gate.trust.key_tables gate.trust.storage gate.trust.store "
    "gate.update.suit_signatures"
)


def manifest(data, device):
    """The verified suit_envelope.Manifest of an envelope (bytes); raises Failure. device:
    gate.device.Device.
    """
    # One after the other, from the innermost: an import in an import in an import is too much for
    # the 8 KiB of stack of small boards. In a file system in Python it ends as a missing module.
    import ed25519  # noqa: F401, I001
    import cose  # noqa: F401
    from gate.trust import store  # noqa: F401
    from gate.trust import storage
    from gate.update import suit_envelope
    from gate.update import suit_signatures  # noqa: F401

    try:
        return suit_envelope.authenticate(data, storage.open(device), device.feed)
    finally:
        ondemand.modules.drop(_ONLY_HERE)


def outcome(data, device):
    """The same, or what it raised: gate.update.offer_run reports that, and is loaded later, where
    the memory of this step is free again.
    """
    try:
        found = manifest(data, device)
    except Exception as error:
        found = error
    gc.collect()
    return found
