"""Small pictures of pages, and how far two are apart: what fonts do to single letters is lost in them, a page that has
lost its style sheet or a column is not."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

from headless import Browser
from server_process import eventually

SCALE = 1 / 16
_HEAD = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 6: 4}  # of PNG's colour types


def font(browser: Browser) -> str:
    """The family that the page's heading is drawn with on this machine: pictures are compared with such of the same."""
    for domain in ("DOM", "CSS"):
        browser.call(f"{domain}.enable")
    found = eventually(lambda: _family(browser))
    for domain in ("CSS", "DOM"):
        browser.call(f"{domain}.disable")
    return found


def _family(browser: Browser) -> str:
    """ "" while the page is still changing, which makes the browser forget its nodes."""
    try:
        root = browser.call("DOM.getDocument")["root"]["nodeId"]
        node = browser.call("DOM.querySelector", nodeId=root, selector="h1")["nodeId"]
        fonts = browser.call("CSS.getPlatformFontsForNode", nodeId=node)["fonts"]
    except RuntimeError:
        return ""
    return str(fonts[0]["familyName"]) if fonts else ""


def take(browser: Browser, width: int, height: int) -> bytes:
    """A PNG of the page's upper part, 16 times smaller."""
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": SCALE}
    return base64.b64decode(browser.call("Page.captureScreenshot", format="png", clip=clip)["data"])


def apart(one: bytes, other: bytes) -> float:
    """Part of the points, 0 to 1, that differ by more than an eighth in a colour; 1 if the sizes do."""
    first, second = _points(one), _points(other)
    if first[:2] != second[:2]:
        return 1.0
    far = sum(any(abs(a - b) > 32 for a, b in zip(p, q, strict=True)) for p, q in zip(first[2], second[2], strict=True))
    return far / len(first[2])


def compare(browser: Browser, width: int, height: int, stored: Path, *, write: bool) -> float:
    """How far the page is from the picture that is stored; `write` stores the present one."""
    now = take(browser, width, height)
    if write:
        stored.parent.mkdir(exist_ok=True)
        stored.write_bytes(now)
    return apart(now, stored.read_bytes())


def _points(png: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height and the points of an 8-bit PNG of colours, without its opacity (PNG specification, section 9)."""
    assert png.startswith(_HEAD)
    at, packed, width, height, channels = len(_HEAD), b"", 0, 0, 0
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colours = struct.unpack(">IIBB", body[:10])
            assert depth == 8 and body[12] == 0, "8 bits, not interlaced"
            channels = _CHANNELS[colours]
        elif kind == b"IDAT":
            packed += body
        at += 12 + size
    raw, length = zlib.decompress(packed), width * channels
    above, points = bytes(length), []
    for row in range(height):
        begin = row * (length + 1)
        above = _unfiltered(raw[begin], raw[begin + 1 : begin + 1 + length], above, channels)
        points += [above[x : x + 3] for x in range(0, length, channels)]
    return width, height, points


def _unfiltered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    found = bytearray()
    for x, value in enumerate(line):
        left = found[x - step] if x >= step else 0
        corner = above[x - step] if x >= step else 0
        guess = (0, left, above[x], (left + above[x]) // 2, _nearest(left, above[x], corner))[kind]
        found.append((value + guess) & 255)
    return bytes(found)


def _nearest(left: int, up: int, corner: int) -> int:
    near = left + up - corner
    return min((left, up, corner), key=lambda one: abs(near - one))
