# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Deterministic CBOR out, also without the heap; strict CBOR in",
    version="0.3.0",
)

package("cbor", ("__init__.py", "floats.py", "writer.py"), base_path="../../lib")
