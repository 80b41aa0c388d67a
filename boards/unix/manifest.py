# Read by MicroPython's manifest tool, which provides these functions.
# ruff: noqa: F821

include("$(MPY_DIR)/extmod/asyncio")
module("ssl.py", base_path="../modules")
