# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio HTTP GET into a caller's buffer, resumable with Range; a small POST",
    version="0.2.0",
)

add_library("tidegate", "..")
require("aiotcp", library="tidegate")

package(
    "http_client",
    ("__init__.py", "chunks.py", "get.py", "header.py", "post.py", "redirect.py"),
    base_path="../../lib",
)
