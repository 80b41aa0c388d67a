# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="Applies binary patches, streaming, in 4 KiB", version="0.2.0")

module("bspatch.py", base_path="../../lib")
module("bspatch_adaptive.py", base_path="../../lib")
module("bspatch_plain.py", base_path="../../lib")
module("bspatch_start.py", base_path="../../lib")
# Machine code: for cores that MicroPython's native emitter knows.
module("bspatch_viper.py", base_path="../../lib")
