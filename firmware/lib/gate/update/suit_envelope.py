"""The SUIT envelope (draft-ietf-suit-manifest section 8.2): who signed the manifest, and its
parts, undecoded.

Two things of the draft are easily got wrong: the digest covers the manifest with the head of its
byte string, and the detached payload of the signature is the encoded SUIT_Digest. Nothing past the
wrapper is parsed before the signature was verified.
"""

import hashlib

import cbor

from gate.clock import const
from gate.update import failures
from gate.update.failures import Failure

MAX_SIZE = const(2048)
SHA256 = const(-16)

_TAG = const(107)
_WRAPPER = const(2)
_MANIFEST = const(3)
_MAX_SIGNATURES = const(4)
_MAX_SEQUENCE = const(0xFFFFFFFF)

# members of the manifest
_VERSION = const(1)
_SEQUENCE = const(2)
_COMMON = const(3)
_VALIDATE = const(7)
_INSTALL = const(20)
_TEXT = const(23)


class Manifest:
    """A verified manifest. digest: SHA-256 over its byte string; common, validate, install:
    encoded sections.
    """

    def __init__(self, digest, sequence, common, validate, install):
        self.digest = digest
        self.sequence = sequence
        self.common = common
        self.validate = validate
        self.install = install


def decode(data, what):
    """Strict CBOR or Failure(MALFORMED)."""
    try:
        return cbor.loads(data, MAX_SIZE)
    except cbor.CborError as error:
        raise Failure(failures.MALFORMED, "%s: %s" % (what, error))


def sha256_of(data, what):
    """The 32 bytes in an encoded SUIT_Digest."""
    value = decode(_bytes(data, what), what)
    if not isinstance(value, list) or len(value) != 2:
        raise Failure(failures.MALFORMED, what + " is not a digest")
    if value[0] != SHA256:
        raise Failure(failures.UNSUPPORTED, what + " is not SHA-256", failures.SUIT_ALGORITHM)
    if not isinstance(value[1], bytes) or len(value[1]) != 32:
        raise Failure(failures.MALFORMED, what + " is not 32 bytes")
    return value[1]


def authenticate(data, store, feed):
    """The Manifest in an envelope, if enough release keys of the trust store signed it; else
    raises Failure.

    data: bytes; feed(): called before each signature, which takes a while on a board.
    """
    members, wrapper, digest = unwrap(data)
    if len(members) != 2:
        raise Failure(failures.MALFORMED, "an envelope holds a wrapper and a manifest")
    from gate.update import suit_signatures  # a part of memory that only verifying needs

    signatures = [_bytes(part, "signature") for part in wrapper[1:]]
    suit_signatures.check(wrapper[0], signatures, store, feed)
    return _open(members[_MANIFEST], digest)


def unwrap(data):
    """(members, wrapper, digest) of an envelope whose manifest has the digest that its wrapper
    says; nothing is trusted yet. wrapper: the encoded SUIT_Digest and the signatures over it.
    """
    if len(data) > MAX_SIZE:
        raise Failure(failures.TOO_LARGE, "%d bytes, at most %d" % (len(data), MAX_SIZE))
    outer = decode(data, "envelope")
    if not isinstance(outer, cbor.Tag) or outer.tag != _TAG:
        raise Failure(failures.MALFORMED, "not a SUIT envelope")
    members = outer.value
    if not isinstance(members, dict) or _WRAPPER not in members or _MANIFEST not in members:
        raise Failure(failures.MALFORMED, "an envelope holds a wrapper and a manifest")
    wrapper = decode(_bytes(members[_WRAPPER], "wrapper"), "wrapper")
    manifest = _bytes(members[_MANIFEST], "manifest")
    if not isinstance(wrapper, list) or not 2 <= len(wrapper) <= 1 + _MAX_SIGNATURES:
        raise Failure(
            failures.MALFORMED, "a wrapper holds a digest and 1 to %d signatures" % _MAX_SIGNATURES
        )
    digest = sha256_of(wrapper[0], "manifest digest")
    if digest_with_head(manifest) != digest:
        raise Failure(
            failures.SIGNATURE, "the manifest is not the signed one", failures.SUIT_CONDITION
        )
    return members, wrapper, digest


def digest_with_head(manifest):
    """SHA-256 over a byte string as it is encoded, head and all."""
    check = hashlib.sha256()
    size = len(manifest)
    # The head of a byte string: cbor itself would copy the whole manifest to make it.
    if size < 24:
        check.update(bytes((0x40 | size,)))
    elif size < 256:
        check.update(bytes((0x58, size)))
    else:
        check.update(bytes((0x59, size >> 8, size & 0xFF)))
    check.update(manifest)
    return check.digest()


def _open(manifest, digest):
    members = decode(manifest, "manifest")
    if not isinstance(members, dict):
        raise Failure(failures.MALFORMED, "a manifest is a map")
    known = (_VERSION, _SEQUENCE, _COMMON, _VALIDATE, _INSTALL, _TEXT)
    if any(key not in known for key in members):
        raise Failure(failures.UNSUPPORTED, "the manifest has members beyond the profile")
    sequence = members.get(_SEQUENCE)
    if members.get(_VERSION) != 1 or members[_VERSION] is True:
        raise Failure(failures.UNSUPPORTED, "manifest version %r" % members.get(_VERSION))
    if not cbor.is_uint(sequence) or sequence > _MAX_SEQUENCE:
        raise Failure(failures.MALFORMED, "the sequence number is not valid")
    if _TEXT in members:
        _bytes(members[_TEXT], "text")
    sections = [_bytes(members.get(key), name) for key, name in _SECTIONS]
    return Manifest(digest, sequence, sections[0], sections[1], sections[2])


_SECTIONS = ((_COMMON, "common"), (_VALIDATE, "validate"), (_INSTALL, "install"))


def _bytes(value, what):
    if not isinstance(value, bytes):
        raise Failure(failures.MALFORMED, what + " is missing or not a byte string")
    return value
