"""The stages of an update: offer, decide, fetch, apply, trial. Here: what the resident takers of
offers and the modules on demand share.
"""

from gate.clock import const

OFFER = "offer.suit"  # file of the accepted envelope; its record: gate.update.accepted

_WAITING = const(4)  # offers that wait to be judged

# files of bare starts (gate.bare)
LACKING = "offer.bare"  # an envelope that lacked memory; it was never accepted
ASKED = "bare-asked"  # bare starts that were asked for since an update was confirmed
ENDED = "bare-ended"  # hash of the last envelope that a bare start carried to its end

# keys of a data component's record, a file of its name
FLOOR = const(1)  # sequence number of the newest content that was current, or refused
CURRENT = const(2)  # [sequence, SHA-256, size]
TRIAL = const(3)  # [sequence, attempts]: content that the application is being shown


class Superseded(Exception):
    """A newer offer arrived while this one waited for the network."""


def wait_in_line(line, data):
    """Adds an offer to those that wait, a list with the newest at its end: anybody may have sent
    it, and those before it are judged if it is refused. An empty one withdraws all.
    """
    if data in line:
        line.remove(data)
    if not data:
        line.clear()
    elif len(line) >= _WAITING:
        del line[1]
    line.append(data)
