"""The MQTT client with a broker that breaks the protocol, or keeps it in unusual ways."""

import asyncio

from check import equal, ground, true
from mqtt_control import Inbox, Running, control, failure, nasty, published, run, until

SERVICES = "peers.nasty_mqtt"
GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 120


ENDS = (
    ("garbage", "protocol"),
    ("connack-refused", "refused"),
    ("connack-code", "protocol"),
    ("connack-flags", "protocol"),
    ("connack-long", "protocol"),
    ("connack-kept", "protocol"),
    ("connack-huge", "protocol"),
    ("length-of-five", "protocol"),
    ("topic-beyond", "protocol"),
    ("topic-empty", "protocol"),
    ("no-topic", "protocol"),
    ("publish-empty", "protocol"),
    ("no-identifier", "protocol"),
    ("identifier-zero", "protocol"),
    ("qos-2", "protocol"),
    ("qos-3", "protocol"),
    ("not-utf8", "protocol"),
    ("wildcard", "protocol"),
    ("type-0", "protocol"),
    ("type-15", "protocol"),
    ("connect", "protocol"),
    ("connack-twice", "protocol"),
    ("pubrec", "protocol"),
    ("puback-short", "protocol"),
    ("puback-flags", "protocol"),
    ("pong-unasked", "protocol"),
    ("pong-long", "protocol"),
    ("suback-code", "protocol"),
    ("control-huge", "protocol"),
    ("oversized-qos-2", "protocol"),
    ("oversized-topic", "protocol"),
    ("eof-now", "lost"),
    ("eof-connack", "lost"),
    ("eof-idle", "lost"),
    ("eof-publish", "lost"),
    ("silent", "timeout"),
    ("stall", "timeout"),
    ("endless", "timeout"),
    ("drip", "timeout"),
)


def test_nasty_brokers_end_the_connection_not_the_program():
    async def check():
        failed = []
        # Side by side, each with its own client. The board has few sockets, and takes every third scene.
        on_board = ground == "cortex-m3"
        ends = [end for at, end in enumerate(ENDS) if at % 3 == 0 or not on_board]
        some = 3 if on_board else 13
        for at in range(0, len(ends), some):
            scenes = ends[at : at + some]
            await asyncio.gather(*[meet(scene, reason, failed) for scene, reason in scenes])
        equal(failed, [], "scenes that went wrong")

    async def meet(scene, reason, failed):
        inbox = Inbox()
        # No PINGREQ for "stall": the packet that does not go on must be noticed by itself.
        device = nasty(scene, on_message=inbox, keepalive=60 if scene == "stall" else 2)
        device.connect_ms = device.reply_ms = 700
        async with Running(device, wait=False) as device:
            try:
                await until(lambda: device.error, "an error")
                first = device.error
                if reason != "timeout":
                    await until(lambda: device.error is not first, "a second attempt")
            except AssertionError as error:
                failed.append((scene, str(error)))
                return
            if getattr(first, "reason", repr(first)) != reason or inbox.got:
                failed.append((scene, repr(first), inbox.got))

    run(check())


def test_a_broker_that_does_not_read():
    async def check():
        device = nasty("deaf", keepalive=60)
        device.reply_ms = 1000
        async with Running(device):
            payload = bytes(4_000)
            # Until the kernels between the two take no more: on loopback that is megabytes.
            error = await failure(publish_on(device, payload), 20)
            equal((error.reason, device.error.reason), ("lost", "timeout"), "reasons")

    async def publish_on(device, payload):
        while True:
            await device.publish("t", payload, 0)

    run(check())


def test_what_was_not_acknowledged_goes_out_again_in_order():
    async def check():
        device = nasty("crash")
        async with Running(device):
            payloads = [b"%d" % number for number in range(6)]
            await asyncio.gather(*[device.publish("t", payload, 1) for payload in payloads])
        record = published("crash")
        again = record.index(None, 1)
        before, after = record[1:again], record[again + 1 :]
        equal([item[2] for item in before], payloads[:3], "before the crash")
        equal([item[0] for item in before], [2, 2, 2], "flags before")
        equal([item[2] for item in after], payloads[1:], "after the crash")
        same = [item[1] for item in before[1:]]
        equal([item[1] for item in after[:2]], same, "packet identifiers kept")
        equal([item[0] for item in after[:2]], [10, 10], "DUP on what went out before")
        equal(after[-1][0], 2, "no DUP on what did not")

    run(check())


def test_acknowledgements_backwards():
    async def check():
        device = nasty("backwards")
        async with Running(device):
            await asyncio.gather(*[device.publish("t", b"%d" % n, 1) for n in range(7)])
            equal((device.sessions, device.window), (1, []), "sessions, window")
        equal(
            [item[2] for item in published("backwards")[1:]],
            [b"%d" % n for n in range(7)],
            "order",
        )

    run(check())


def test_no_acknowledgement():
    async def check():
        device = nasty("no-puback")
        device.reply_ms = 700
        async with Running(device):
            error = await failure(device.publish("t", b"given up", 1, timeout_s=0.2))
            equal(error.reason, "timeout", "reason")
            equal(device.sessions, 1, "sessions")
            await device.publish("t", b"kept", 1)
            equal(device.error.reason, "timeout", "the connection's end")
            equal(device.sessions, 2, "sessions")
        flags = [item and (item[0], item[2]) for item in published("no-puback")]
        equal(flags, [None, (2, b"given up"), (2, b"kept"), None, (10, b"kept")], "record")

    run(check())


def test_oversized_messages_are_dropped_and_counted():
    async def check():
        inbox = Inbox()
        device = nasty("oversized", on_message=inbox)
        async with Running(device):
            await inbox.until(1)
            await device.round_trip()
            equal((device.oversized, device.sessions), (2, 1), "oversized, sessions")
            equal(inbox.got, [("a", b"zz", False)], "messages")
            true(
                "40" + "0007" in control("record oversized").split(","),
                "the large one acknowledged",
            )

    run(check())


def test_a_burst_is_acknowledged_after_its_handler():
    async def check():
        inbox = Inbox()
        early = []

        def handler(topic, payload, retained):
            inbox(topic, payload, retained)
            number = len(inbox.got)
            if number % 20 == 1 and "40%04x" % number in control("record burst").split(","):
                early.append(number)

        device = nasty("burst", on_message=handler)
        async with Running(device):
            await inbox.until(60)
            await device.round_trip()
            wanted = ["40%04x" % number for number in range(1, 61)]
            equal(control("record burst").split(",")[1:], wanted, "acknowledgements")
            equal((early, device.handler_errors), ([], 0), "acknowledged too early, errors")

    run(check())


def test_no_acknowledgement_in_the_wrong_connection():
    async def check():
        inbox = Inbox()
        device = nasty("stale", on_message=inbox)
        async with Running(device, wait=False):
            await until(lambda: device.sessions == 2, "a second connection")
            await device.publish("t", b"x", 1)
        record = control("record stale").split(",")
        after = record[record.index("00" + b"CONNECT".hex(), 1) + 1 :]
        equal([item[:2] for item in after], ["32"], "packets of the second connection")

    run(check())
