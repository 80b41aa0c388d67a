# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="Applies binary patches, streaming, in 4 KiB", version="0.2.0")

module("bspatch/__init__.py", base_path="../../lib")
module("bspatch/adaptive.py", base_path="../../lib")
module("bspatch/plain.py", base_path="../../lib")
module("bspatch/start.py", base_path="../../lib")
module("bspatch/viper.py", base_path="../../lib")
