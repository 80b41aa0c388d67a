"""A gateway over CoAP in MicroPython, with the device's own library and nothing but hashlib for the session: what
docs/coap-uplink.md asks of a device, whole. Run by test_coap_micropython.py; says what it sees, one line each.

micropython coap_gateway.py PORT DEVICE KEY PAYLOAD
"""

import asyncio
import hashlib
import sys

import senml_cbor
from coap.client import Client, CoapError

_BLOCK = 64


def hmac(key, *texts):
    """HMAC-SHA-256 (RFC 2104); keys here have 32 bytes."""
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + b"\x36" * (_BLOCK - len(key)))
    for text in texts:
        inner.update(text)
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in key) + b"\x5c" * (_BLOCK - len(key)))
    outer.update(inner.digest())
    return outer.digest()


def head(size):
    """Of a CBOR byte string."""
    if size < 24:
        return bytes((0x40 + size,))
    return bytes((0x58, size)) if size < 256 else bytes((0x59, size >> 8, size & 0xFF))


class Uplink:
    """One device's session."""

    def __init__(self, client, device, key):
        self._client = client
        self._root = f"tg/{device}/"
        self._key = key
        self._session = self._echo = None
        self._counter = 0

    async def begin(self):
        self._echo = (await self._client.get("/echo")).payload
        self._session = hmac(self._key, b"tidegate coap 1", self._echo)
        self._counter = 0

    async def say(self, topic, message):
        """True: it is filed. False: it is malformed, and never will be."""
        while True:
            if self._session is None:
                await self.begin()
            path = self._root + "up/" + topic
            try:
                options = ((252, self._echo),) if self._echo else ()
                await self._client.post("/" + path, self._body(path.encode(), message), options=options)
                self._echo = None
                return True
            except CoapError as error:
                if error.code == 400:
                    return False
                if error.code != 401:
                    raise
                self._session = None

    def _body(self, path, message):
        protected = b"\xa2\x01\x04\x06\x44" + self._counter.to_bytes(4, "big")
        self._counter += 1
        outer = b"\x02" + path
        tag = hmac(self._session, b"\x84\x64MAC0\x49", protected, head(len(outer)), outer, head(len(message)), message)
        return b"\xd1\x84\x49" + protected + b"\xa0" + head(len(message)) + message + b"\x48" + tag[:8]

    async def observe(self, topic):
        path = self._root + "down/" + topic
        tag = hmac(self._session, b"\x01", path.encode())[:8].hex()
        return await self._client.observe("/" + path, query="a=" + tag)


async def main(port, device, key, payload):
    async with Client("127.0.0.1", int(port)) as client:
        uplink = Uplink(client, device, bytes.fromhex(key))
        print("state", await uplink.say("state", b"\xa1\x01\xf5"))
        pack = senml_cbor.Pack(f"urn:dev:org:tidegate:{device}:")
        for number in range(20):  # longer than a block
            pack.add(f"measurement-number-{number}", number, "V")
        print("telemetry", await uplink.say("tele/env", pack.encode()))
        print("malformed", await uplink.say("tele/env", b"\xff"))
        body = hashlib.sha256()
        answer = await client.get("/p/" + payload, sink=body.update, max_size=1 << 20)
        print("payload", answer.size, body.digest().hex() == payload)
        watch = await uplink.observe("cmd")
        command = b""
        while not command:
            command = bytes((await watch.next()).payload)
        print("command", command.hex())
        print("result", await uplink.say("result", b"\xa2\x01\x48" + bytes((0,) * 6 + (0x24, 0x54)) + b"\x02\x00"))
        uplink._session = bytes(32)  # as after the server forgot it
        print("again", await uplink.say("alarm", b"\xa2\x01\x65crash\x02\x68watchdog"))


asyncio.run(main(*sys.argv[1:]))
