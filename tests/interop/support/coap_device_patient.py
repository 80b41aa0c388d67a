# ruff: noqa: UP031 - runs on MicroPython
"""What the device's CoAP client makes of a server: PORT TIMES [OBSERVE]; prints its heap and the reasons."""

import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0] + "/firmware/lib")

import asyncio
import gc

from coap import client as coap_client

PORT, TIMES = int(sys.argv[1]), int(sys.argv[2])


def heap():
    gc.collect()
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


async def main():
    reasons = {}
    early = 0
    async with coap_client.Client("127.0.0.1", PORT, block=256, ack_timeout_s=0.05) as client:
        for n in range(TIMES):
            if n == TIMES // 3:
                early = heap()
            try:
                if n % 4 == 3:
                    answer = await client.post("/x", bytes(600), timeout_s=0.3)
                elif n % 4 == 2 and len(sys.argv) > 3:
                    watch = await client.observe("/x", timeout_s=0.3)
                    answer = await asyncio.wait_for(watch.next(), 0.3)
                    watch.close()
                else:
                    answer = await client.get("/x", max_size=5000, timeout_s=0.3)
                reason = "%d" % answer.code
            except coap_client.CoapError as error:
                reason = error.reason
            except asyncio.TimeoutError:  # noqa: UP041 - MicroPython's is not the built-in one
                reason = "timeout"
            reasons[reason] = reasons.get(reason, 0) + 1
            for watch in list(client.observations):
                watch.close()
    print("heap", early, heap())
    for reason in sorted(reasons):
        print(reasons[reason], reason)
    print("done")


asyncio.run(main())
