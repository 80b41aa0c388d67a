# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Deterministic CBOR out, also without the heap; strict CBOR in", version="0.2.0"
)

module("cbor/__init__.py", base_path="../../lib")
module("cbor/floats.py", base_path="../../lib")
module("cbor/writer.py", base_path="../../lib")
