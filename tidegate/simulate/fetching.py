"""Payloads as simulated boards fetch them: with Range from where a download was cut off, and their digests checked."""

from __future__ import annotations

import asyncio
import hashlib

from tidegate.simulate import http
from tidegate.simulate.device import Device

_ATTEMPTS = 8
_PAUSE_S = (1, 2, 4, 8, 16, 30)
_GONE = 404
_PARTIAL, _WHOLE = 206, 200


class NotFetched(http.HttpError):
    """A board gave up; the text says what came last."""


async def fetch(device: Device, digest: bytes, size: int, cut: int | None = None) -> None:
    """cut: the first download breaks off after so many bytes. Raises NotFetched."""
    began = asyncio.get_running_loop().time()
    data, last = b"", "no attempt"
    for attempt in range(_ATTEMPTS):
        device.figures.counts["fetches"] += 1
        try:
            answer = await http.get(device.place.payloads, f"/p/{digest.hex()}", len(data), cut)
        except (OSError, TimeoutError, http.HttpError) as error:
            last = str(error) or type(error).__name__
        else:
            if answer.status not in (_PARTIAL, _WHOLE):
                last = f"status {answer.status}"
                if answer.status == _GONE:
                    break
            else:
                data = data + answer.body if answer.status == _PARTIAL else answer.body
                device.figures.counts["bytes fetched"] += len(answer.body)
                if len(data) >= size:
                    break
                device.figures.counts["fetches cut off"] += 1
                cut = None
                continue
        cut = None
        device.figures.errors[f"fetch: {last}"[:80]] += 1
        await asyncio.sleep(_PAUSE_S[min(attempt, len(_PAUSE_S) - 1)] * (0.5 + device.dice.random()))
    if hashlib.sha256(data).digest() != digest:
        raise NotFetched(last)
    device.figures.took("payload fetched", asyncio.get_running_loop().time() - began)
