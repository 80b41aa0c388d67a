# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="SHA-512 in plain Python", version="0.2.0")

module("sha512.py", base_path="../../lib")
