# Read by MicroPython's manifest tool, which provides these functions.
# ruff: noqa: F821

include("$(MPY_DIR)/extmod/asyncio")
freeze("$(PORT_DIR)/modules")
module("ssl.py", base_path="$(PORT_DIR)/../modules")
