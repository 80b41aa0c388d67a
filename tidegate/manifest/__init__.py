"""Update manifests in their SUIT envelopes. That of a data component is `tidegate.manifest.data_profile`."""

from tidegate.manifest.envelope import (
    MAX_SIGNATURES,
    TAG_ENVELOPE,
    Envelope,
    check_signatures,
    open_envelope,
    seal,
    sign,
    verify,
)
from tidegate.manifest.profile import (
    MAX_PATCHES,
    MAX_SEQUENCE,
    MAX_SIZE,
    MAX_VERSION,
    Image,
    Manifest,
    Patch,
    address,
    class_id,
    decode,
    encode,
    vendor_id,
)

__all__ = [
    "MAX_PATCHES",
    "MAX_SEQUENCE",
    "MAX_SIGNATURES",
    "MAX_SIZE",
    "MAX_VERSION",
    "TAG_ENVELOPE",
    "Envelope",
    "Image",
    "Manifest",
    "Patch",
    "address",
    "check_signatures",
    "class_id",
    "decode",
    "encode",
    "open_envelope",
    "seal",
    "sign",
    "vendor_id",
    "verify",
]
