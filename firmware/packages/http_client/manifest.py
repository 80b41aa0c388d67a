# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio HTTP GET into a caller's buffer, resumable with Range; a small POST",
    version="0.1.0",
)

module("aiotcp.py", base_path="../../lib")
module("http_client/__init__.py", base_path="../../lib")
module("http_client/get.py", base_path="../../lib")
module("http_client/post.py", base_path="../../lib")
