"""Fetches a payload as a board does, with the device's own HTTP client, and says what it got. Run in MicroPython by
test_payload_stores.py.

micropython board_fetch.py HOST PORT PATH OFFSET
"""

import asyncio
import hashlib
import sys

from http_client.get import HttpError, get


async def main(host, port, path, offset):
    digest, count = hashlib.sha256(), 0

    def take(view):
        nonlocal count
        digest.update(view)
        count += len(view)

    try:
        total = await get(host, int(port), path, int(offset), take, bytearray(1024), 1 << 20)
        print(total, count, digest.digest().hex())
    except HttpError as error:
        print("HttpError", error.status, error.retry_after)


asyncio.run(main(*sys.argv[1:]))
