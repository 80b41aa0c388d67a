# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="SenML packs in CBOR", version="0.3.0")

add_library("tidegate", "..")
require("cbor", library="tidegate")

package("senml_cbor", ("__init__.py", "reader.py"), base_path="../../lib")
