# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="Ed25519 signatures, verified and made, in plain Python", version="0.1.0")

module("ed25519/__init__.py", base_path="../../lib")
module("ed25519/base_table.py", base_path="../../lib")
module("ed25519/curve.py", base_path="../../lib")
module("ed25519/pure.py", base_path="../../lib")
module("ed25519/sign.py", base_path="../../lib")
module("sha512.py", base_path="../../lib")
