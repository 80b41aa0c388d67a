# Frozen into the Pico's MicroPython: the port's own modules, except _boot.py, which is ours, and
# asyncio. MicroPython's build provides these functions.
# ruff: noqa: F821

module("rp2.py", base_path="$(PORT_DIR)/modules")
module("_boot.py", base_path="../common/rp2")
include("$(MPY_DIR)/extmod/asyncio")
