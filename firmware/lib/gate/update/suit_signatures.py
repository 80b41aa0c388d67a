"""The signatures of a SUIT envelope (draft-ietf-suit-manifest section 6.1): whether enough keys of
the trust store made them.
"""

import cose

from gate.clock import const
from gate.trust import store as trust_store
from gate.update import failures
from gate.update.failures import Failure

_ED25519 = const(-19)
_ALG = const(1)

_UNTRUSTED = {
    "malformed": failures.MALFORMED,
    "signature": failures.SIGNATURE,
    "unknown-key": failures.UNKNOWN_KEY,
    "threshold": failures.THRESHOLD,
}


def check(signed, parts, store, feed):
    """Raises Failure unless enough release keys of the trust store made `parts` (a list of bytes),
    the signatures of `signed` (bytes). feed(): called before each, which takes a while on a board.
    """
    signatures = []
    for part in parts:
        try:
            sign1 = cose.decode_sign1(part)
            kid = cose.key_id_alone(sign1.unprotected)
        except cose.CoseError as error:
            raise Failure(failures.MALFORMED, "signature: %s" % error, failures.SUIT_COSE)
        if sign1.headers != {_ALG: _ED25519}:
            raise Failure(
                failures.UNSUPPORTED, "signature is not Ed25519", failures.SUIT_ALGORITHM
            )
        if sign1.payload is not None:
            raise Failure(failures.MALFORMED, "signature has another form", failures.SUIT_COSE)
        signatures.append((kid, _verifier(sign1, signed)))
    try:
        store.quorum(trust_store.RELEASE, signatures, feed)
    except trust_store.Untrusted as error:
        raise Failure(_UNTRUSTED[error.reason], error.detail)


def _verifier(sign1, signed):
    return lambda public: cose.verify_sign1(sign1, public, signed)
