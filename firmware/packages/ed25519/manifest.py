# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="Ed25519 signatures, verified and made, in plain Python", version="0.2.0")

add_library("tidegate", "..")
require("sha512", library="tidegate")

package(
    "ed25519",
    ("__init__.py", "base_table.py", "curve.py", "pure.py", "sign.py"),
    base_path="../../lib",
)
