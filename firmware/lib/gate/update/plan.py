"""Turns a verified manifest into a plan for this device: the payload to fetch and the image to
make from it.
"""

import cbor

from gate.clock import const
from gate.update import failures
from gate.update.failures import Failure

_NEXT = [b"next"]
_RUN = [b"run"]
# keys of patch-fetch, docs/wire.cddl
_FORMAT = const(1)
_BASE = const(2)
_SIZE = const(3)
_DIGEST = const(4)

_PATCH_FORMAT = const(1)
_RUNNING_INDEX = const(1)


class Identity:
    """This device as the target of suit_processor.Processor. written: (size, digest) of the image
    that was found when the other slot was read back after writing it, or None.
    """

    components = (_NEXT, _RUN)

    def __init__(self, boot, device):
        """device: gate.device.Device."""
        self.vendor_id = device.vendor_id
        self.class_id = device.class_id
        self.written = None
        self._boot = boot

    def matches(self, component, digest, size):
        if component == _RUN:  # the loader has just compared the slot with these
            running = self._boot.running
            return size == running.size and digest == running.digest
        if self.written == (size, digest):
            return True
        return size <= self._boot.other_slot_size and self._boot.other_digest(size) == digest


class Plan:
    """A manifest whose install section was run up to its fetch.

    digest, size: of the image; payload, payload_size: SHA-256 and size of what is fetched;
    is_patch: whether that is a patch to the running image.
    """

    def __init__(self, manifest, identity):
        """Raises Failure if a condition fails or the manifest exceeds the profile."""
        self.manifest = manifest
        self._identity = identity
        _, _, fetch = self._begin()
        if fetch is None or fetch.component != _NEXT:
            raise Failure(
                failures.UNSUPPORTED, "the manifest installs nothing", failures.SUIT_COMPONENT
            )
        self.digest = fetch.digest
        self.size = fetch.size
        self.is_patch = fetch.arguments is not None
        if self.is_patch:
            self.payload, self.payload_size = _patch_arguments(fetch.arguments)
            fetch.check_address("")  # the arguments complete it: docs/decisions/0005
        else:
            self.payload, self.payload_size = fetch.digest, fetch.size
            fetch.check_address(self.payload.hex())

    def check(self, boot):
        """Raises Failure if this device must not install it now."""
        sequence, floor = self.manifest.sequence, boot.sequence_floor
        if sequence < floor or sequence == boot.running.sequence:
            raise Failure(failures.OLDER, "sequence %d is not newer than %d" % (sequence, floor))
        if boot.is_bad(self.digest):
            raise Failure(
                failures.FAILED_BEFORE, "failed its trial on this device; not tried again"
            )
        if self.size > boot.other_slot_size:
            raise Failure(
                failures.NO_SPACE,
                "image of %d bytes, slot of %d" % (self.size, boot.other_slot_size),
            )

    def finish(self):
        """Continues once the slot's writer has read the image back and found it right, which is
        not done again here: each time costs 8 M instructions. Raises Failure if the manifest
        wants another.
        """
        self._identity.written = self.size, self.digest
        processor, steps, _ = self._begin()
        if next(steps, None) is not None:
            raise Failure(failures.UNSUPPORTED, "one fetch a manifest", failures.SUIT_COMMAND)
        processor.validate()

    def _begin(self):
        """The processor, the steps of its install section, and the first of them. It is made anew
        when the payload is there: what it takes is free while that is brought here.
        """
        from gate.update.suit_processor import Processor

        processor = Processor(self.manifest, self._identity)
        steps = processor.install()
        return processor, steps, next(steps, None)


def _patch_arguments(data):
    """(SHA-256, size) of the patch in fetch-arguments."""
    try:
        values = cbor.loads(data)
    except cbor.CborError as error:
        raise Failure(failures.MALFORMED, "fetch arguments: %s" % error, failures.SUIT_PARAMETER)
    if not isinstance(values, dict) or set(values) != {_FORMAT, _BASE, _SIZE, _DIGEST}:
        raise Failure(
            failures.UNSUPPORTED, "fetch arguments of another form", failures.SUIT_PARAMETER
        )
    size, digest = values[_SIZE], values[_DIGEST]
    if values[_FORMAT] != _PATCH_FORMAT or values[_BASE] != _RUNNING_INDEX:
        raise Failure(
            failures.UNSUPPORTED, "patch format %r" % values[_FORMAT], failures.SUIT_PARAMETER
        )
    if not cbor.is_uint(size) or size < 1:
        raise Failure(failures.MALFORMED, "patch size %r" % size, failures.SUIT_PARAMETER)
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise Failure(failures.MALFORMED, "patch digest", failures.SUIT_PARAMETER)
    return digest, size
