"""What a release says of the way to it: which release a device must come from, which MicroPython
it must have, and how long the restart into it may wait for the application.

It stands in the manifest's text, which is signed, and which older agents skip.
"""

import sys

import cbor

from gate.clock import const
from gate.update import failures
from gate.update.failures import Failure
from gate.update.suit_envelope import decode

_MANIFEST = const(3)
_TEXT = const(23)
_SEQUENCE = const(-1)
_MICROPYTHON = const(-2)
_RESTART = const(-3)
# {"en": {[h'next']: and then the map of component 0; a key that is an array is not decoded here
_HEAD = b"\xa1\x62en\xa1\x81\x44next"


def check(envelope, sequence):
    """Returns the seconds that the restart may wait at most, or None; raises Failure if this
    device must not come from what it runs.

    envelope: bytes, verified; sequence: of the release that runs.
    """
    text = decode(decode(envelope, "envelope").value[_MANIFEST], "manifest").get(_TEXT, b"")
    if not text.startswith(_HEAD):
        return None
    said = decode(text[len(_HEAD) :], "text")
    if not isinstance(said, dict):
        return None
    least, python = said.get(_SEQUENCE, 0), said.get(_MICROPYTHON, "")
    restart_s = said.get(_RESTART)
    right = cbor.is_uint(least) and isinstance(python, str)
    if not right or not (restart_s is None or cbor.is_uint(restart_s)):
        raise Failure(failures.MALFORMED, "what the release needs")
    if sequence < least:
        raise Failure(failures.NEEDS, "needs sequence %d or newer to come from" % least)
    if _parts(python) > sys.implementation.version[:3]:
        raise Failure(failures.NEEDS, "needs MicroPython %s or newer" % python)
    return restart_s


def _parts(version):
    try:
        return tuple(int(part) for part in version.split(".")) if version else ()
    except ValueError:
        raise Failure(failures.MALFORMED, "what the release needs")
