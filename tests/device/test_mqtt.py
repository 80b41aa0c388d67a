"""The MQTT client against mosquitto, amqtt and a nasty broker (peers.py, steered over the control port)."""

import asyncio
import gc
import socket

import mqtt_packet
from check import Skip, equal, ground, raises, settings, true
from mqtt import Client, MqttError

GROUNDS = ("cpython", "unix")
TIMEOUT_S = 120

HOST = settings.get("host")
PROGRAM_S = 40  # no test takes longer; a client that hangs fails instead


def run(coroutine):
    if not HOST:
        raise Skip("needs the peers that conftest.py starts")
    try:
        asyncio.run(asyncio.wait_for(coroutine, PROGRAM_S))
    finally:
        if hasattr(asyncio, "sleep_ms"):  # MicroPython keeps the tasks of a loop that ended with an error
            asyncio.new_event_loop()


def control(line):
    """One order to the host's side of the test; returns its answer."""
    link = socket.socket()
    try:
        link.connect(socket.getaddrinfo(HOST, int(settings["control"]))[0][-1])
        link.send(line.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            part = link.recv(1024)
            if not part:
                break
            answer += part
    finally:
        link.close()
    verdict, _, text = answer.decode().strip().partition(" ")
    equal(verdict, "ok", "control's answer to %r: %r" % (line, text))
    return text


def client(name, broker="mosquitto", password=None, **options):
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


def nasty(scene, **options):
    options.setdefault("max_packet", 512)
    made = Client(scene, HOST, int(settings["nasty"]), **options)
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


async def until(condition, what, within_s=10):
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
    big = bytes(range(256)) * 12
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


def test_both_ways_amqtt():
    run(both_ways("amqtt"))


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


# ---------------------------------------------------------------- connections that end


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


async def killed(broker, kills, count):
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
    equal((inbox.wrong, inbox.next), ([], count), "gaps, and where the stream ends")
    true(inbox.again <= 4 * kills, "%d repeated in %d kills" % (inbox.again, kills))
    equal(device.sessions, kills + 1, "sessions")


def test_broker_killed_during_a_stream():
    run(killed("mosquitto", 5, 300))


def test_broker_killed_during_a_stream_amqtt():
    run(killed("amqtt", 1, 100))


def test_keepalive_keeps_the_connection():
    async def check():
        async with Running(client("idle-" + ground, keepalive=2)) as device:
            await asyncio.sleep(4)  # mosquitto drops after 3 s without a packet
            equal(device.sessions, 1, "sessions")
            await device.round_trip()

    run(check())


def test_a_broker_that_falls_silent():
    async def check():
        device = client("frozen-" + ground, keepalive=2)
        device.reply_ms = device.connect_ms = 1000
        async with Running(device):
            control("pause mosquitto 4")
            publishing = asyncio.create_task(device.publish("frozen/" + ground, "x", 1))
            error = await failure(device.round_trip())
            equal(error.reason, "lost", "round trip")
            equal(device.error.reason, "timeout", "the connection's end")
            await publishing
            equal(device.sessions, 2, "sessions")

    run(check())


def test_link_down_and_up():
    async def check():
        up = [False]
        device = client("link-" + ground, link=lambda: up[0])
        async with Running(device, wait=False):
            await asyncio.sleep(1)
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
            await until(lambda: device.filters[0].granted == 1, "the subscription made offline")

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
        inbox = Inbox()
        topic = "cancel/" + ground
        async with Running(client("cancel-" + ground, on_message=inbox)) as device:
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
            equal(device.window, [], "window")
            await device.publish(topic, "last", 1)
            await device.round_trip()
            equal(inbox.got[-1][1], b"last", "what arrived last")
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


# ---------------------------------------------------------------- a nasty broker

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
        # All at once, each with its own client: the slow scenes wait side by side.
        for at in range(0, len(ENDS), 8):
            scenes = ENDS[at : at + 8]
            await asyncio.gather(*[meet(scene, reason, failed) for scene, reason in scenes])
        equal(failed, [], "scenes that went wrong")

    async def meet(scene, reason, failed):
        inbox = Inbox()
        device = nasty(scene, on_message=inbox, keepalive=2)
        device.connect_ms = device.reply_ms = 1000
        async with Running(device, wait=False) as device:
            try:
                await until(lambda: device.error, "an error")
                first = device.error
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
            payload = bytes(20_000)
            # Until the kernels between the two take no more: on loopback that is megabytes.
            error = await failure(publish_on(device, payload), 20)
            equal((error.reason, device.error.reason), ("lost", "timeout"), "reasons")

    async def publish_on(device, payload):
        while True:
            await device.publish("t", payload, 0)

    run(check())


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
        device = nasty("burst", on_message=inbox)
        async with Running(device):
            await inbox.until(200)
            await device.round_trip()
            wanted = ["40%04x" % number for number in range(1, 201)]
            equal(control("record burst").split(",")[1:], wanted, "acknowledgements")

    run(check())


# ---------------------------------------------------------------- memory


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
