# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="Applies binary patches, streaming, in 4 KiB", version="0.3.0")

package(
    "bspatch",
    ("__init__.py", "adaptive.py", "out.py", "plain.py", "start.py", "viper.py"),
    base_path="../../lib",
)
