# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="COSE_Sign1 verification with Ed25519", version="0.1.0")

module("cbor.py", base_path="../../lib")
module("cbor_float.py", base_path="../../lib")
module("cose.py", base_path="../../lib")
module("ed25519.py", base_path="../../lib")
module("ed25519_base.py", base_path="../../lib")
module("ed25519_pure.py", base_path="../../lib")
module("edwards25519.py", base_path="../../lib")
module("sha512.py", base_path="../../lib")
