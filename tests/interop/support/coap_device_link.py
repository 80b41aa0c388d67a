"""The device's CoAP connection (gate.link.coap) with the server at PORT, until it has heard of an offer."""

import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0] + "/firmware/lib")

import asyncio

from gate.link.coap import CoapLink


class Board:
    def network_up(self):
        pass

    def link(self):
        return True


async def main():
    link = CoapLink("gate-1", bytes(32), "127.0.0.1", int(sys.argv[1]), Board())
    heard = asyncio.Event()
    link.subscribe({"offer": lambda payload: heard.set()})
    link.introduce(lambda: b"birth", lambda: b"state")
    running = asyncio.create_task(link.run())
    await heard.wait()
    running.cancel()
    link.leave()
    print("done")


asyncio.run(main())
