"""UUIDs of version 5 (RFC 9562 section 5.5): the vendor and class ids that SUIT conditions
compare; and the fingerprint of the board itself.

Where MicroPython's hashlib has no SHA-1, which mostly TLS brings, the one block it takes is
computed here.
"""

import hashlib
import struct

from gate.clock import const

NAMESPACE_DNS = b"\x6b\xa7\xb8\x10\x9d\xad\x11\xd1\x80\xb4\x00\xc0\x4f\xd4\x30\xc8"

_MASK = const(0xFFFFFFFF)


def uuid5(namespace, name):
    """The 16 bytes of the UUID of `name` (str) in a namespace (16 bytes)."""
    data = namespace + name.encode()
    found = hashlib.sha1(data).digest() if hasattr(hashlib, "sha1") else _sha1(data)
    digest = bytearray(found[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


def device(boot, config):
    """The gate.device.Device of this board with this gate.settings.config.Config."""
    from gate.device import Device  # not part of what the loader verifies with

    board = boot.board
    vendor = vendor_id(config.vendor)
    found = Device(
        board,
        boot.watchdog.feed,
        config.device,
        vendor,
        class_id(vendor, config.product, config.board),
        config.payloads,
    )
    found.hardware = hardware(board)
    return found


def vendor_id(domain):
    return uuid5(NAMESPACE_DNS, domain)


def class_id(vendor, product, board):
    return uuid5(vendor, product + "/" + board)


def hardware(board):
    """Fingerprint of the board's unique id, 8 bytes, in its births: it shows copied devices."""
    return hashlib.sha256(b"tidegate hw" + board.unique_id()).digest()[:8]


def _sha1(data):
    """FIPS 180-4 section 6.1; for identifiers only, nothing is protected by it."""
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack(">Q", 8 * len(data))
    for start in range(0, len(padded), 64):
        words = list(struct.unpack(">16I", padded[start : start + 64]))
        for at in range(16, 80):
            words.append(_left(words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16], 1))
        a, b, c, d, e = state
        for at in range(80):
            if at < 20:
                mix, add = b & c | (b ^ _MASK) & d, 0x5A827999
            elif at < 40:
                mix, add = b ^ c ^ d, 0x6ED9EBA1
            elif at < 60:
                mix, add = b & c | b & d | c & d, 0x8F1BBCDC
            else:
                mix, add = b ^ c ^ d, 0xCA62C1D6
            a, b, c, d, e = (
                (_left(a, 5) + mix + e + add + words[at]) & _MASK,
                a,
                _left(b, 30),
                c,
                d,
            )
        state = [(old + new) & _MASK for old, new in zip(state, (a, b, c, d, e))]
    return struct.pack(">5I", *state)


def _left(word, count):
    return (word << count | word >> (32 - count)) & _MASK
