# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="COSE_Sign1 verification with Ed25519", version="0.1.0")

module("cbor/__init__.py", base_path="../../lib")
module("cbor/floats.py", base_path="../../lib")
module("cose.py", base_path="../../lib")
module("ed25519/__init__.py", base_path="../../lib")
module("ed25519/base_table.py", base_path="../../lib")
module("ed25519/curve.py", base_path="../../lib")
module("ed25519/pure.py", base_path="../../lib")
module("sha512.py", base_path="../../lib")
