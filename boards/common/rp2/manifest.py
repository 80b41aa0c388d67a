# Frozen into MicroPython for an RP2040 or RP2350 whose slots are executed in place: the port's own
# modules, except _boot.py, which is ours. MicroPython's build (FROZEN_MANIFEST=) provides these
# functions.
# ruff: noqa: F821

module("rp2.py", base_path="$(PORT_DIR)/modules")
module("_boot.py")
include("$(MPY_DIR)/extmod/asyncio")
require("bundle-networking")
