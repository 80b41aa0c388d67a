"""What the MQTT tests share: clients, the control port, and waiting for something to happen."""

import asyncio

from check import Skip, ground, network, settings, true
from mqtt import Client, MqttError
from peer_control import HOST, control

PROGRAM_S = 40  # no test takes longer; a client that hangs fails instead


def run(coroutine):
    if not HOST:
        raise Skip("needs the peers that conftest.py starts")
    network()
    try:
        asyncio.run(asyncio.wait_for(coroutine, PROGRAM_S))
    finally:
        if hasattr(asyncio, "sleep_ms"):  # MicroPython keeps the tasks of a loop that ended with an error
            asyncio.new_event_loop()


def client(name, broker="mosquitto", password=None, **options):
    if broker == "amqtt" and ground == "cortex-m3":
        raise Skip("the other brokers are enough there")
    options.setdefault("max_packet", 2048)
    made = Client(
        name,
        HOST,
        int(settings[broker]),
        settings["user"],
        settings["password"] if password is None else password,
        **options,
    )
    made.backoff_base_ms = 100
    made.backoff_cap_ms = 400
    return made


def nasty(scene, peer="nasty", **options):
    options.setdefault("max_packet", 512)
    made = Client(scene, HOST, int(settings[peer]), **options)
    made.backoff_base_ms = made.backoff_cap_ms = 50
    return made


class Running:
    """async with Running(client): run() goes on beside; it ends with the block and must not have ended before."""

    def __init__(self, of, wait=True):
        self.client = of
        self.wait = wait

    async def __aenter__(self):
        self.task = asyncio.create_task(self.client.run())
        if self.wait:
            await asyncio.wait_for(self.client.wait_connected(), 10)
        return self.client

    async def __aexit__(self, kind, error, trace):
        ended = self.task.done()
        await self.stop()
        true(kind or not ended, "run() went on by itself")

    async def stop(self):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass

    async def leave(self):
        self.client.disconnect()
        await asyncio.wait_for(self.task, 5)


class Inbox:
    """An on_message that keeps what came."""

    def __init__(self):
        self.got = []

    def __call__(self, topic, payload, retained):
        self.got.append((topic, bytes(payload), retained))

    async def until(self, count, within_s=10):
        for _ in range(within_s * 50):
            if len(self.got) >= count:
                break
            await asyncio.sleep(0.02)
        true(
            len(self.got) >= count,
            "%d messages within %d s, got %d" % (count, within_s, len(self.got)),
        )


async def until(condition, what, within_s=30):
    for _ in range(within_s * 50):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within %d s: %s" % (within_s, what))


async def failure(awaitable, within_s=10):
    """The MqttError that awaitable ends with."""
    try:
        value = await asyncio.wait_for(awaitable, within_s)
    except MqttError as error:
        return error
    raise AssertionError("MqttError expected, got %r" % (value,))


class Stream:
    """An on_message for the numbers 0, 1, 2...: QoS 1 may repeat some, never miss one or swap two first arrivals."""

    def __init__(self):
        self.next = 0
        self.again = 0
        self.wrong = []

    def __call__(self, topic, payload, retained):
        number = int(bytes(payload))
        if number == self.next:
            self.next += 1
        elif number < self.next:
            self.again += 1
        else:
            self.wrong.append((number, self.next))
            self.next = number + 1


def published(scene):
    """The PUBLISH packets of a scene's record: (flags, identifier, payload), and None at each connection."""
    found = []
    for item in control("record " + scene).split(","):
        data = bytes.fromhex(item)
        if data[1:] == b"CONNECT":
            found.append(None)
        elif data[0] >> 4 == 3:
            at = 3 + (data[1] << 8 | data[2])
            found.append((data[0] & 15, data[at] << 8 | data[at + 1], data[at + 2 :]))
    return found
