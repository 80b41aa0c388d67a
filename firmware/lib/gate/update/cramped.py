"""Whether an update for which there is no memory is brought by a bare start (gate.bare), and when:
docs/decisions/0105-a-bare-start.md. Here, as nothing of it is needed elsewhere.
"""

import hashlib

import cbor

from gate import console
from gate.clock import const
from gate.update import ASKED, ENDED, LACKING, OFFER

# So long the board has been up before it asks for a bare start: for the first one, four times that
# for the next, up to a day, until an update was confirmed; and for an offer that could not be
# verified, as anybody may have sent that.
_FIRST_S = const(60)
_MOST_S = const(86400)
_UNVERIFIED_S = const(3600)
_SIZE = const(2048)  # bytes of an envelope
_MANIFEST = const(3)  # key of an envelope
_SEQUENCE = const(2)  # key of a manifest


def store(state, data, verified, up_s):
    """Stores an offer (bytes) that lacked memory, for a bare start; one that could not be verified
    only where that comes seldom. The accepted offer and its payload stay beside it. state:
    SmallFiles of the agent's state; up_s: seconds since the start.
    """
    if state.read(OFFER) == data:
        state.remove(LACKING)  # of another one
    elif (verified or up_s >= _UNVERIFIED_S) and state.read(LACKING) != data:
        try:
            state.write(LACKING, data)
        except OSError:  # it comes again
            pass


def may_ask(boot, state, active, verified, up_s):
    """Whether what is stored is the active offer and would bring something, and it is not too soon
    for a bare start. active: hash of the offer.
    """
    least = min(_FIRST_S << min(2 * _asked(state), 16), _MOST_S)
    if up_s < max(least, 0 if verified else _UNVERIFIED_S) or state.read(ENDED) == active:
        return False
    stored = state.read(LACKING) or state.read(OFFER)
    return bool(stored) and hashlib.sha256(stored).digest() == active and _is_newer(boot, stored)


def _is_newer(boot, data):
    """Whether an offer says that it is newer than what this board has taken: that of the image
    which runs stays at the broker, and comes at each connection. Nothing is verified here.
    """
    try:
        manifest = cbor.loads(data, _SIZE).value[_MANIFEST]
        return cbor.loads(manifest, _SIZE)[_SEQUENCE] > boot.sequence_floor
    except (cbor.CborError, AttributeError, IndexError, KeyError, TypeError):
        return False


def ask(boot, state):
    """Asks for a bare start. Returns whether that could be stored."""
    console.info("no memory for the update beside the application: restart to bring it alone")
    try:
        state.store(ASKED, _asked(state) + 1)
        state.write(boot.BARE, b"")
    except OSError as error:
        console.error("a start without the application cannot be asked for: %r", error)
        return False
    return True


def _asked(state):
    """Bare starts that were asked for since an update was confirmed, for whatever offer: who
    replays old ones in turn has no more of them.
    """
    found = state.load(ASKED, 0)
    return found if type(found) is int and found > 0 else 0
