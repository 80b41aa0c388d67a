"""Modules that are wanted now and then: imported when there is work for them, let go of after it.

At rest the board's RAM belongs to the link and to telemetry. What verifies, plans and installs
runs a few seconds a month; its bytecode stays in ROM, but its names, functions and classes would
hold some 25 KiB of RAM all the time (docs/decisions/0012-modules-on-demand.md).

    with ondemand.modules:
        self._judge(data)  # imports inside, and keeps nothing of what it imported
"""

import gc
import sys

# What may be let go of. Nothing that stays may hold an instance or an exception of these. Native
# modules (_ed25519, _bspatch) are not among them: MicroPython never gives their memory back, so
# each further import would cost it again.
_NAMES = (  # one text: as a tuple the names themselves would be in RAM
    "tidegate.acceptance tidegate.calls tidegate.carrying tidegate.catalog tidegate.opcodes "
    "tidegate.ops.bench tidegate.ops.device tidegate.ops.execute tidegate.ops.files "
    "tidegate.ops.host tidegate.ops.logs tidegate.ops.memory tidegate.ops.names "
    "tidegate.ops.network tidegate.ops.sensors tidegate.ops.session tidegate.ops.settings "
    "tidegate.ops.updates "
    "tidegate.ops "  # after what is in it
    "tidegate.component tidegate.config tidegate.envelope tidegate.failures "
    "tidegate.crash tidegate.settings "
    "tidegate.ids tidegate.install tidegate.keeper tidegate.pins tidegate.plan tidegate.staging "
    "tidegate.succession tidegate.suit tidegate.trial tidegate.trust tidegate.tuning "
    "tidegate.ringopen tidegate.calibration tidegate.tls ssl "
    "bspatch bspatch_adaptive bspatch_plain bspatch_start bspatch_viper "
    "cose ed25519 ed25519_base ed25519_pure "
    "edwards25519 httpget sha512 tidegate.enrol tidegate.claim ed25519_sign httppost "
    "coap coap_block coap_exchange coap_message coap_peer coap_udp "
    "boot.back boot.fileslots boot.manifests boot.options boot.record boot.romslots "
    "boot.signature boot.slots boot.verify"
)


class _Modules:
    """A context manager; several tasks may be in it at once, and the last to leave clears up."""

    def __init__(self):
        self._users = 0
        self._before = None

    def __enter__(self):
        if not self._users:
            # What an application imported for itself is not ours to take away.
            self._before = [name for name in _NAMES.split() if name in sys.modules]
        self._users += 1

    def __exit__(self, kind, error, trace):
        self._users -= 1
        if self._users:
            return
        for name in _NAMES.split():
            if name in sys.modules and name not in self._before:
                _forget(name)
        gc.collect()


def _forget(name):
    del sys.modules[name]
    package, _, rest = name.rpartition(".")
    if package in sys.modules:
        delattr(sys.modules[package], rest)


modules = _Modules()
