# ruff: noqa: UP031, PTH123 - runs on MicroPython
"""The device's cbor at work for test_cbor_agreement.py, on any interpreter: `cbor_device.py LIB FILE` or `LIB make N`.

FILE: one input in hex a line; prints for each the hex of what it is encoded as again, or "no". make: prints the hex of
N made-up objects.
"""

import sys
from binascii import hexlify, unhexlify

sys.path.insert(0, sys.argv[1])
import cbor

_state = [20261121]


def below(limit):
    _state[0] = _state[0] * 48271 % 2147483647
    return _state[0] % limit


def made(depth):
    kind = below(9 if depth else 6)
    if kind == 0:
        return below(1 << (1 + below(31))) << below(34)
    if kind == 1:
        return -1 - (below(1 << (1 + below(31))) << below(34))
    if kind == 2:
        return bytes(below(256) for _ in range(below(30)))
    if kind == 3:
        return "".join(chr((65, 0xE4, 0x3C0, 0x6C34, 0x1F600)[below(5)] + below(20)) for _ in range(below(12)))
    if kind == 4:
        return (None, True, False)[below(3)]
    if kind == 5:
        return (below(1 << 30) - (1 << 29)) * 2.0 ** (below(80) - 40)
    if kind == 6:
        return [made(depth - 1) for _ in range(below(7))]
    if kind == 7:
        return {made_key(): made(depth - 1) for _ in range(below(7))}
    return cbor.Tag(60000 + below(10000), made(depth - 1))


def made_key():
    kind = below(4)
    if kind == 0:
        return below(70000)
    if kind == 1:
        return -1 - below(70000)
    return "key%d" % below(1000) if kind == 2 else bytes([below(256), below(256)])


def main():
    if sys.argv[2] == "make":
        for _ in range(int(sys.argv[3])):
            print(hexlify(cbor.dumps(made(4))).decode())
        return
    with open(sys.argv[2]) as file:
        for line in file:
            try:
                print(hexlify(cbor.dumps(cbor.loads(unhexlify(line.strip())))).decode())
            except cbor.CborError:
                print("no")


main()
