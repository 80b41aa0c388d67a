"""The MQTT client when connections end: brokers killed, silent, away; links down; callers cancelled."""

import asyncio
import gc

from check import Skip, equal, ground, true
from mqtt import Client
from mqtt_control import HOST, Running, Stream, client, control, failure, run, until

SERVICES = "peers.mqtt"
GROUNDS = ("cpython", "unix", "cortex-m3")
MARKS = ("broker",)
TIMEOUT_S = 120


async def killed(broker, kills, count, loses=0):
    """loses: messages that the broker may lose at each kill, having acknowledged them."""
    inbox = Stream()
    topic = "stream/%s-%s" % (ground, broker)
    device = client("stream-" + ground, broker, on_message=inbox)
    device.backoff_base_ms = device.backoff_cap_ms = 50
    sent = []

    async def publisher():
        while len(sent) < count:
            number = len(sent)
            sent.append(number)
            await device.publish(topic, str(number), 1)
            await asyncio.sleep(0.005)

    async with Running(device):
        await device.subscribe(topic, 1)
        publishers = [asyncio.create_task(publisher()) for _ in range(5)]
        for kill in range(kills):
            mark = count * (kill + 1) // (kills + 2)
            await until(lambda mark=mark: inbox.next > mark, "progress")
            control("bounce %s 0.1" % broker)
            await until(lambda kill=kill: device.sessions == kill + 2, "a reconnection", 20)
        for task in publishers:
            await task
        await device.round_trip()
        equal(device.window, [], "window")
    equal(inbox.next, count, "where the stream ends")
    true(len(inbox.wrong) <= loses * kills, "gaps: %r" % inbox.wrong)
    true(inbox.again <= 4 * kills, "%d repeated in %d kills" % (inbox.again, kills))
    equal(device.sessions, kills + 1, "sessions")


def test_broker_killed_during_a_stream():
    run(killed("mosquitto", 2 if ground == "cortex-m3" else 4, 300))


def test_broker_killed_during_a_stream_embedded():
    acknowledges_first("embedded")


def test_broker_killed_during_a_stream_amqtt():
    acknowledges_first("amqtt")


def acknowledges_first(broker):
    """These two acknowledge a message just before they pass it on, and keep it in memory."""
    if ground == "cortex-m3":
        raise Skip("mosquitto's part is enough there")
    run(killed(broker, 1, 100, loses=4))


def test_keepalive_keeps_a_quiet_connection_and_ends_a_dead_one():
    async def quiet():
        async with Running(client("idle-" + ground, "embedded", keepalive=2)) as device:
            await asyncio.sleep(3.7)  # a broker drops after 3 s without a packet
            equal(device.sessions, 1, "sessions")
            await device.round_trip()

    async def dead():
        device = client("frozen-" + ground, keepalive=2)
        device.reply_ms = device.connect_ms = 1000
        async with Running(device):
            control("pause mosquitto 2.5")
            publishing = asyncio.create_task(device.publish("frozen/" + ground, "x", 1))
            error = await failure(device.round_trip())
            equal(error.reason, "lost", "round trip")
            equal(device.error.reason, "timeout", "the connection's end")
            await publishing
            equal(device.sessions, 2, "sessions")

    async def both():
        await asyncio.gather(quiet(), dead())

    run(both())


def test_link_down_and_up():
    async def check():
        up = [False]
        heard = []

        def handler(topic, payload, retained):
            heard.append(bytes(payload))

        device = client("link-" + ground, link=lambda: up[0], on_message=handler)
        async with Running(device, wait=False):
            await asyncio.sleep(0.5)
            equal((device.sessions, device.error), (0, None), "attempts without a link")
            waiting = asyncio.create_task(device.publish("link/" + ground, "x", 1))
            up[0] = True
            await waiting
            up[0] = False
            await until(lambda: not device.connected, "the end of the connection")
            equal(device.error.reason, "link", "reason")
            equal((await failure(device.publish("t", b""))).reason, "offline", "QoS 0 offline")
            equal((await failure(device.round_trip())).reason, "offline", "round trip offline")
            equal(await device.subscribe("link/" + ground), None, "granted while offline")
            error = await failure(device.publish("t", b"", 1, timeout_s=0.2))
            equal(error.reason, "timeout", "QoS 1 with a time limit")
            up[0] = True
            await device.wait_connected()
            await until(lambda: not device.window, "the subscription made offline")
            await device.publish("link/" + ground, b"heard", 1)
            await until(lambda: b"heard" in heard, "what was subscribed to offline")

    run(check())


def test_nobody_listens():
    async def check():
        device = client("nobody-" + ground, "control")  # a TCP server that speaks something else
        async with Running(device, wait=False):
            await until(lambda: device.error, "an error", 20)
        device = Client("nobody-" + ground, HOST, 1)
        device.backoff_base_ms = 10
        async with Running(device, wait=False):
            await until(lambda: device.error, "an error", 20)
            waiting = asyncio.create_task(failure(device.publish("t", b"x", 1)))
            await asyncio.sleep(0.1)
        equal((await waiting).reason, "stopped", "a publisher when run() is cancelled")

    run(check())


def test_cancelled_publishers_leave_nothing_behind():
    async def check():
        heard = [b""]

        def handler(topic, payload, retained):
            heard[0] = bytes(payload[:8])

        topic = "cancel/" + ground
        async with Running(client("cancel-" + ground, on_message=handler)) as device:
            await device.subscribe(topic, 1)
            for turn in range(20):
                tasks = []
                for number in range(6):
                    payload = bytes((turn,)) * (1 + 1500 * (number % 2))
                    tasks.append(asyncio.create_task(device.publish(topic, payload, number % 2)))
                await asyncio.sleep(0.002 * (turn % 4))
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    try:
                        await task
                    except asyncio.CancelledError:
                        pass
            await device.publish(topic, "last", 1)
            await device.round_trip()
            equal(device.window, [], "window")
            equal(heard[0], b"last", "what arrived last")
            equal(device.sessions, 1, "sessions")

    run(check())


def test_a_handler_that_raises():
    async def check():
        calls = []

        def handler(topic, payload, retained):
            calls.append(bytes(payload))
            raise KeyError("a fault of the application")

        topic = "fault/" + ground
        async with Running(client("fault-" + ground, on_message=handler)) as device:
            await device.subscribe(topic, 1)
            await device.publish(topic, b"1", 1)
            await device.publish(topic, b"2", 1)
            await device.round_trip()
            equal(calls, [b"1", b"2"], "calls")
            equal((device.handler_errors, device.sessions), (2, 1), "errors, sessions")

    run(check())


def test_the_heap_ends_where_it_began():
    if not hasattr(gc, "mem_alloc"):
        raise Skip("only MicroPython counts its heap")

    async def check():
        count = [0]

        def handler(topic, payload, retained):
            count[0] += 1

        topic = "heap/" + ground
        async with Running(client("heap-" + ground, on_message=handler)) as device:
            await device.subscribe(topic, 1)
            levels = []
            for _ in range(4):
                for _ in range(50):
                    await device.publish(topic, b"0123456789abcdef", 1)
                await device.round_trip()
                gc.collect()
                levels.append(gc.mem_alloc())
            equal(count[0], 200, "messages")
            true(levels[-1] - levels[1] <= 256, "heap after each 50 messages: %r" % levels)

    run(check())
