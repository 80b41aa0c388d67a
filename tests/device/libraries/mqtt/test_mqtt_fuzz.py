"""The MQTT client with a broker whose packets are broken at random: it goes on, and nothing is left behind."""

import asyncio
import gc

from check import equal, true
from mqtt_control import Running, nasty, run, until

SERVICES = "peers.nasty_mqtt"
GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 120


async def survives(version):
    heard = [0]

    def handler(topic, payload, retained, properties=None):
        heard[0] += len(payload)

    def place(topic, size, retained):
        return bytearray(size) if size < 1500 else None

    # Half of the clients have a place for what does not fit in their buffer.
    device = nasty(
        "fuzz-%d" % version,
        "fuzzer",
        version=version,
        on_message=handler,
        on_large=place if version == 5 else None,
        properties={0x22: 3} if version == 5 else None,
    )
    device.backoff_base_ms = device.backoff_cap_ms = 5
    device.connect_ms = device.reply_ms = 500
    levels = []
    async with Running(device, wait=False):
        waiting = asyncio.create_task(device.publish("kept", b"through it all", 1))
        await until(lambda: waiting.done(), "the good broker", 35)
        await waiting
        equal(device.handler_errors, 0, "faults of handlers")
        true(device.error is not None, "errors")
        true(len(device.window) <= 1, "what is left: %r" % len(device.window))
        if hasattr(gc, "mem_alloc"):
            for _ in range(3):
                await device.publish("more", b"x", 1)
                gc.collect()
                levels.append(gc.mem_alloc())
            true(levels[2] - levels[1] <= 256, "heap: %r" % levels)


def test_nonsense_in_3_1_1():
    run(survives(4))


def test_nonsense_in_5():
    run(survives(5))
