# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="SenML packs in CBOR", version="0.2.0")

module("cbor.py", base_path="../../lib")
module("cbor_float.py", base_path="../../lib")
module("cbor_writer.py", base_path="../../lib")
module("senml.py", base_path="../../lib")
module("senml_read.py", base_path="../../lib")
