# What MicroPython's own boards of this port freeze, but for the drivers of micropython-lib (DHT,
# 1-Wire, NeoPixel), which Debian's sources do not have. MicroPython's build provides these
# functions.
# ruff: noqa: F821

freeze("$(PORT_DIR)/modules")
include("$(MPY_DIR)/extmod/asyncio")
