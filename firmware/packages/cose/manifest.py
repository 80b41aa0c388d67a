# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="COSE_Sign1 and COSE_Sign verification with Ed25519", version="0.2.0")

add_library("tidegate", "..")
require("cbor", library="tidegate")
require("ed25519", library="tidegate")

module("cose.py", base_path="../../lib")
