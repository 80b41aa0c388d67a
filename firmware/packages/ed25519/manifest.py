# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="Ed25519 signatures, verified and made, in plain Python", version="0.1.0")

module("ed25519.py", base_path="../../lib")
module("ed25519_base.py", base_path="../../lib")
module("ed25519_pure.py", base_path="../../lib")
module("ed25519_sign.py", base_path="../../lib")
module("edwards25519.py", base_path="../../lib")
module("sha512.py", base_path="../../lib")
