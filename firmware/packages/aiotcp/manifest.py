# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="A TCP or TLS connection on asyncio, the same on MicroPython and CPython",
    version="0.2.0",
)

module("aiotcp.py", base_path="../../lib")
