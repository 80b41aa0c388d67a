"""The MQTT client with brokers that do as they should: mosquitto, our own, and amqtt."""

import asyncio

from check import equal, ground, raises, true
from mqtt import Client
from mqtt import packet as mqtt_packet
from mqtt.messages import Messages
from mqtt_control import Inbox, Running, client, control, failure, nasty, run, until

SERVICES = "peers.mqtt"
GROUNDS = ("cpython", "unix", "cortex-m3")
MARKS = ("broker",)
TIMEOUT_S = 120


# ---------------------------------------------------------------- bytes


def test_remaining_length_of_the_specification():
    buf = bytearray(5)
    for value, wanted in (
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16383, "ff7f"),
        (16384, "808001"),
        (2097151, "ffff7f"),
        (2097152, "80808001"),
        (268435455, "ffffff7f"),
    ):
        size = mqtt_packet.put_length(buf, 0, value)
        equal(bytes(buf[:size]), bytes.fromhex(wanted), "length %d" % value)


def test_connect_packet():
    packet = mqtt_packet.connect("cid", "u", "p", 60, True, ("w", b"bye", 1, True))
    wanted = "101a00044d51545404ee003c00036369640001770003627965000175000170"
    wanted = "10" + "%02x" % (len(wanted) // 2 - 2) + wanted[4:]
    equal(bytes(packet), bytes.fromhex(wanted), "CONNECT")


def test_topics_that_cannot_be():
    for topic in ("", "a\0", "a/+", "#", "x" * 300, "\u00e9" * 128):
        raises(ValueError, mqtt_packet.topic_bytes, topic)
    for topic in ("", "a#", "a/#/b", "a+", "+a/b", "#/"):
        raises(ValueError, mqtt_packet.topic_bytes, topic, True)
    for topic in ("#", "+", "a/+/b/#", "/", "\u00e9" * 127):
        equal(mqtt_packet.topic_bytes(topic, True), topic.encode(), "filter")


def test_arguments_that_cannot_be():
    raises(ValueError, Client, "a", "h", keepalive=0)
    raises(ValueError, Client, "a", "h", max_packet=4)
    raises(ValueError, Client, "a", "h", will=("a/#", b"", 0, False))
    if ground != "cortex-m3":  # no room for it there
        raises(ValueError, Client, "a" * 70000, "h")

    async def check():
        made = Client("a", "h")
        for arguments in (("t", b"", 2), ("t", b"", -1), ("t/#", b"", 1), ("", b"", 0)):
            try:
                await made.publish(*arguments)
            except ValueError:
                continue
            raise AssertionError("taken: %r" % (arguments,))
        equal(made.window, [], "window")

    asyncio.run(check())


# ---------------------------------------------------------------- a good broker


async def both_ways(broker):
    inbox = Inbox()
    big = bytes(range(250)) * 6
    topic = "tg/%s-%s/" % (ground, broker)
    async with Running(client("both-" + ground, broker, on_message=inbox)) as device:
        equal(await device.subscribe(topic + "#", 1), 1, "granted QoS")
        await device.publish(topic + "a", "zero", 0)
        await device.publish(topic + "b", b"one", 1)
        await device.publish(topic + "c", b"", 1)
        await device.publish(topic + "d/\u00e9", memoryview(big), 1)
        await device.publish(topic + "e", big, 0)
        await inbox.until(5)
        equal(
            [item[0][len(topic) :] for item in inbox.got],
            ["a", "b", "c", "d/\u00e9", "e"],
            "topics",
        )
        equal([item[1] for item in inbox.got], [b"zero", b"one", b"", big, big], "payloads")
        equal([item[2] for item in inbox.got], [False] * 5, "retained")
        await device.round_trip()
        equal(device.window, [], "window")
        await device.unsubscribe(topic + "#")
        await device.publish(topic + "a", "unheard", 1)
        await device.round_trip()
        equal(len(inbox.got), 5, "messages after unsubscribing")


def test_both_ways():
    run(both_ways("mosquitto"))


def test_both_ways_embedded():
    run(both_ways("embedded"))


def test_both_ways_amqtt():
    run(both_ways("amqtt"))


def test_messages_in_a_loop():
    """Payloads stay whole after the next came; what the loop is too slow for drops the oldest."""

    async def check():
        topic = "loop/" + ground
        device = client("loop-" + ground)
        messages = Messages(device, most=3)
        async with Running(device):
            await device.subscribe(topic, 1)
            for number in range(3):
                await device.publish(topic, b"%d" % number * 100, 1)
            await device.round_trip()
            got = []
            async for name, payload, retained in messages:
                got.append((name, payload, retained))
                if len(got) == 3:
                    break
            equal(got, [(topic, b"%d" % n * 100, False) for n in range(3)], "messages")
            waiting = asyncio.create_task(messages.__anext__())
            await asyncio.sleep(0.05)
            true(not waiting.done(), "it waits for the next one")
            await device.publish(topic, "late", 1)
            equal((await asyncio.wait_for(waiting, 10))[1], b"late", "the next one")
            for number in range(5):
                await device.publish(topic, b"%d" % number, 1)
            await device.round_trip()
            equal(messages.dropped, 2, "dropped")
            for number in (b"2", b"3", b"4"):
                equal((await messages.__anext__())[1], number, "of the newest")
        raises(ValueError, Messages, device, 0)

    run(check())


def test_agrees_with_mosquittos_own_clients():
    async def check():
        inbox = Inbox()
        topic = "foreign/" + ground
        async with Running(client("foreign-" + ground, on_message=inbox)) as device:
            await device.subscribe(topic + "/in", 1)
            for qos in (0, 1):
                control("publish %s/in %d 0 00ff80" % (topic, qos))
            await inbox.until(2)
            equal([item[1] for item in inbox.got], [b"\x00\xff\x80"] * 2, "payloads")
            await device.publish(topic + "/out", b"\x00\x01\xfe", 1, retain=True)
            equal(control("next %s/out" % topic), "1 0 0001FE".lower(), "mosquitto_sub")

    run(check())


async def retained(broker):
    topic = "kept/%s-%s" % (ground, broker)
    inbox = Inbox()
    async with Running(client("kept1-" + ground, broker)) as device:
        await device.publish(topic, "first", 1, retain=True)
        await device.publish(topic, "second", 1, retain=True)
    async with Running(client("kept2-" + ground, broker, on_message=inbox)) as device:
        await device.subscribe(topic, 1)
        await inbox.until(1)
        await device.publish(topic, "third", 1, retain=True)
        await inbox.until(2)
        equal(inbox.got, [(topic, b"second", True), (topic, b"third", False)], "messages")
        await device.publish(topic, b"", 1, retain=True)  # takes it away
        await inbox.until(3)
    inbox = Inbox()
    async with Running(client("kept3-" + ground, broker, on_message=inbox)) as device:
        await device.subscribe(topic, 1)
        await device.round_trip()
        equal(inbox.got, [], "what is left")


def test_retained():
    run(retained("mosquitto"))


def test_retained_embedded():
    run(retained("embedded"))


def test_retained_amqtt():
    run(retained("amqtt"))


async def last_will(broker):
    topic = "will/%s-%s" % (ground, broker)
    inbox = Inbox()
    async with Running(client("heir-" + ground, broker, on_message=inbox)) as heir:
        await heir.subscribe(topic, 1)
        device = client("dying-" + ground, broker, will=(topic, b"gone", 1, True))
        running = Running(device)
        await running.__aenter__()
        await device.publish(topic, b"here", 1, retain=True)
        await inbox.until(1)
        await running.stop()  # closes the socket without DISCONNECT
        await inbox.until(2)
        equal([item[1] for item in inbox.got], [b"here", b"gone"], "messages")
        running = Running(device)
        await running.__aenter__()
        await device.publish(topic, b"here", 1, retain=True)
        await running.leave()
        await asyncio.sleep(0.5)
        await heir.round_trip()
        equal([item[1] for item in inbox.got], [b"here", b"gone", b"here"], "after taking leave")
        await heir.publish(topic, b"", 1, retain=True)


def test_last_will():
    run(last_will("mosquitto"))


def test_last_will_embedded():
    run(last_will("embedded"))


def test_last_will_amqtt():
    run(last_will("amqtt"))


async def wrong_password(broker):
    device = client("wrong-" + ground, broker, password="guess")
    async with Running(device, wait=False):
        await until(lambda: device.error, "an error")
        equal(device.error.reason, "refused", "reason")
        true(device.error.code in (4, 5), "code %r" % device.error.code)
        true(not device.connected, "not connected")
        first = device.error
        await until(lambda: device.error is not first, "another attempt")
        true("guess" not in repr(device.error), "no password in the error")


def test_wrong_password():
    run(wrong_password("mosquitto"))


def test_wrong_password_embedded():
    run(wrong_password("embedded"))


def test_wrong_password_amqtt():
    run(wrong_password("amqtt"))


def test_refused_subscription():
    async def check():
        said = []
        async with Running(nasty("refuses", log=said.append)) as device:
            error = await failure(device.subscribe("forbidden/fruit"))
            equal((error.reason, error.code), ("refused", 128), "error")
            await device.round_trip()
            true(any("forbidden/fruit" in line for line in said), "the log names it: %r" % said)

    run(check())


def test_session_is_kept_when_asked_for():
    async def check():
        inbox = Inbox()
        present = []
        topic = "away/" + ground
        device = client("away-" + ground, clean=False, on_message=inbox, on_connect=present.append)
        async with Running(device):
            await device.subscribe(topic, 1)
        control("publish %s 1 0 6869" % topic)
        async with Running(device):
            await inbox.until(1)
            equal(inbox.got[0][1], b"hi", "message sent while away")
        equal(present, [False, True], "session present")
        async with Running(client("away-" + ground)):
            pass  # a clean session ends the kept one

    run(check())
