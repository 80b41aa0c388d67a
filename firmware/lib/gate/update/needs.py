"""What a device must have before it takes an image: a release to come from, and a MicroPython.

It stands in the manifest's text, which is signed, and which older agents skip.
"""

import sys

from gate.clock import const
from gate.trust.store import is_uint
from gate.update import failures
from gate.update.failures import Failure
from gate.update.suit_envelope import decode

_MANIFEST = const(3)
_TEXT = const(23)
_SEQUENCE = const(-1)
_MICROPYTHON = const(-2)
# {"en": {[h'next']: and then the map of component 0; a key that is an array is not decoded here
_HEAD = b"\xa1\x62en\xa1\x81\x44next"


def check(envelope, sequence):
    """Raises Failure if this device must not come from what it runs.

    envelope: bytes, verified; sequence: of the release that runs.
    """
    text = decode(decode(envelope, "envelope").value[_MANIFEST], "manifest").get(_TEXT, b"")
    if not text.startswith(_HEAD):
        return
    said = decode(text[len(_HEAD) :], "text")
    if not isinstance(said, dict):
        return
    least, python = said.get(_SEQUENCE, 0), said.get(_MICROPYTHON, "")
    if not is_uint(least) or not isinstance(python, str):
        raise Failure(failures.MALFORMED, "what the release needs")
    if sequence < least:
        raise Failure(failures.NEEDS, "needs sequence %d or newer to come from" % least)
    if _parts(python) > sys.implementation.version[:3]:
        raise Failure(failures.NEEDS, "needs MicroPython %s or newer" % python)


def _parts(version):
    try:
        return tuple(int(part) for part in version.split(".")) if version else ()
    except ValueError:
        raise Failure(failures.MALFORMED, "what the release needs")
