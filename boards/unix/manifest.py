# Read by MicroPython's manifest tool, which provides this function.
# ruff: noqa: F821

include("$(MPY_DIR)/extmod/asyncio")
