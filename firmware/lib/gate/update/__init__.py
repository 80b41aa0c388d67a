"""The stages of an update: offer, decide, fetch, apply, trial. Here: what the resident takers of
offers and the modules on demand share.
"""

from gate.clock import const

OFFER = "offer.suit"  # file of the accepted envelope; its record: gate.update.accepted

# keys of a data component's record, a file of its name
FLOOR = const(1)  # sequence number of the newest content that was current, or refused
CURRENT = const(2)  # [sequence, SHA-256, size]
TRIAL = const(3)  # [sequence, attempts]: content that the application is being shown


class Superseded(Exception):
    """A newer offer arrived while this one waited for the network."""
