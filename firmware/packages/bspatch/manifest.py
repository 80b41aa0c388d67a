# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="Applies binary patches, streaming, in 3 KiB", version="0.1.0")

module("bspatch.py", base_path="../../lib")
