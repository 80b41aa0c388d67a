"""Verifies a slot's manifest at every boot, on boards with the option verify = "signature".

The verifying code is the agent's own, from a copy of its libraries that was flashed into LIBRARY;
never from a slot, which is what is verified (docs/decisions/0011-loader-verifies-signatures.md).
It is unloaded again before the slot is mounted.
"""

import gc
import sys

LIBRARY = __file__[: __file__.rfind("/")] + "/lib"  # beside this file, wherever the loader is
_NEXT = [b"next"]  # the component that a manifest calls the slot it installs into


class SignatureError(Exception):
    """The manifest does not authenticate the slot; the text says why."""


def check(board, slot, manifest, keys, feed):
    """Raises SignatureError unless release keys in `keys` (the trust store it was accepted by,
    bytes) signed `manifest` (an envelope, bytes), it is made for this product and board, and the
    image and sequence it names are those of `slot` (record.Slot, whose digest was just compared
    with the slot).
    """
    if not manifest:
        raise SignatureError("the slot has no signed manifest")
    sys.path.insert(0, LIBRARY)
    try:
        _check(board, slot, manifest, keys, feed)
    except ImportError as error:
        raise SignatureError(
            "%s lacks a part (%s); flash with --verify signature" % (LIBRARY, error)
        )
    finally:
        sys.path.remove(LIBRARY)
        _unload()


def _check(board, slot, manifest, keys, feed):
    from gate import identity
    from gate.settings.config import Config, ConfigError
    from gate.trust import store
    from gate.update import suit_envelope, suit_processor
    from gate.update.failures import Failure

    try:
        config = Config(board.folder, board.name, secrets=False)
        found = suit_envelope.authenticate(manifest, store.parse(keys), feed)
        vendor = identity.vendor_id(config.vendor)
        target = _Target(slot, vendor, identity.class_id(vendor, config.product, config.board))
        suit_processor.Processor(found, target).validate()
    except (ConfigError, Failure, ValueError) as error:
        raise SignatureError("%s" % error)
    if found.sequence != slot.sequence or not target.matched:
        raise SignatureError("the manifest is for another image")


class _Target:
    """This board, for suit_processor.Processor. matched: whether the manifest named our image."""

    components = None  # set below: any component, the loader checks only one

    def __init__(self, slot, vendor_id, class_id):
        self.vendor_id = vendor_id
        self.class_id = class_id
        self.matched = False
        self._slot = slot

    def matches(self, component, digest, size):
        if component != _NEXT:
            return True
        same = digest == self._slot.digest and size == self._slot.size
        self.matched = self.matched or same
        return same


class _Any:
    def __contains__(self, component):
        return True


_Target.components = _Any()


def _unload():
    """Frees the RAM of LIBRARY's modules; the application must not import them."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) and module.__file__.startswith(LIBRARY):
            del sys.modules[name]
    gc.collect()
