"""MQTT 5: with mosquitto, and with brokers that keep or break it in unusual ways."""

import asyncio

from check import equal, ground, raises, true
from mqtt import Client
from mqtt import v5 as v5
from mqtt_control import Running, client, control, failure, nasty, run, until

SERVICES = "peers.mosquitto"
GROUNDS = ("cpython", "unix", "cortex-m3")
MARKS = ("broker",)
TIMEOUT_S = 120


class Inbox:
    def __init__(self):
        self.got = []

    def __call__(self, topic, payload, retained, properties):
        self.got.append((topic, bytes(payload), retained, properties))

    async def until(self, count):
        await until(lambda: len(self.got) >= count, "%d messages" % count)


# ---------------------------------------------------------------- bytes


def test_properties_as_bytes():
    data = v5.encode({v5.MESSAGE_EXPIRY: 258}, b"\x02")
    equal(data, b"\x02\0\0\1\2", "a number")
    data = v5.encode({v5.USER_PROPERTY: [("a", "b"), ("a", "c")]}, b"\x26")
    equal(data, b"\x26\0\1a\0\1b\x26\0\1a\0\1c", "pairs")
    found, at = v5.decode(v5.with_length(data), 0, 20, b"\x26")
    equal(found, {v5.USER_PROPERTY: [("a", "b"), ("a", "c")]}, "pairs again")
    equal(at, 15, "position")
    for bad in ({v5.MESSAGE_EXPIRY: -1}, {v5.MESSAGE_EXPIRY: 1 << 32}, {v5.TOPIC_ALIAS: 1}):
        raises(ValueError, v5.encode, bad, b"\x02")
    raises(ValueError, Client, "a", "h", version=5, properties={v5.MESSAGE_EXPIRY: 1})
    raises(ValueError, Client, "a", "h", version=3)


# ---------------------------------------------------------------- mosquitto


def test_a_request_and_its_answer():
    async def check():
        inbox, answers = Inbox(), Inbox()
        topic = "rpc/" + ground
        server = client("server-" + ground, version=5, on_message=inbox)
        asker = client("asker-" + ground, version=5, on_message=answers)
        async with Running(server), Running(asker):
            await server.subscribe(topic, 1)
            await asker.subscribe(topic + "/answer", 1)
            asked = {
                v5.RESPONSE_TOPIC: topic + "/answer",
                v5.CORRELATION_DATA: b"\0\xff7",
                v5.CONTENT_TYPE: "text/plain",
                v5.PAYLOAD_FORMAT: 1,
                v5.USER_PROPERTY: [("k", "v"), ("k", "w")],
            }
            equal(await asker.publish(topic, "how much?", 1, properties=asked), 0, "reason code")
            await inbox.until(1)
            equal(inbox.got[0], (topic, b"how much?", False, asked), "what came")
            given = inbox.got[0][3]
            answer = {v5.CORRELATION_DATA: given[v5.CORRELATION_DATA]}
            await server.publish(given[v5.RESPONSE_TOPIC], "42", 0, properties=answer)
            await answers.until(1)
            equal(answers.got[0], (topic + "/answer", b"42", False, answer), "the answer")
            code = await asker.publish("nobody/" + ground, "hears", 1)
            equal(code, 0x10, "reason code where nobody listens")

    run(check())


def test_sessions_and_messages_expire():
    async def check():
        inbox = Inbox()
        present = []
        topic = "expiry/" + ground
        device = client(
            "sleeper-" + ground,
            version=5,
            clean=False,
            properties={v5.SESSION_EXPIRY: 60},
            on_message=inbox,
            on_connect=present.append,
        )
        async with Running(device):
            await device.subscribe(topic, 1)
        async with Running(client("waker-" + ground, version=5)) as other:
            await other.publish(topic, "short", 1, properties={v5.MESSAGE_EXPIRY: 1})
            await other.publish(topic, "long", 1, properties={v5.MESSAGE_EXPIRY: 60})
            await asyncio.sleep(2.2)
        async with Running(device):
            await inbox.until(1)
            await device.round_trip()
            equal([item[1] for item in inbox.got], [b"long"], "what was still there")
            left = inbox.got[0][3][v5.MESSAGE_EXPIRY]
            true(50 < left < 60, "seconds left: %r" % left)
        # The same without an expiry: the session ends with the connection.
        brief = client("brief-" + ground, version=5, clean=False, on_connect=present.append)
        for _ in range(2):
            async with Running(brief):
                await brief.subscribe(topic, 1)
        equal(present, [False, True, False, False], "session present")

    run(check())


def test_aliases_and_limits_with_mosquitto():
    async def check():
        inbox = Inbox()
        topic = "a/long/topic/that/is/worth/an/alias/" + ground
        device = client("alias-" + ground, version=5, on_message=inbox, max_packet=512)
        async with Running(device):
            true(device.v5.properties[v5.TOPIC_ALIAS_MAXIMUM] > 0, "mosquitto takes aliases")
            await device.subscribe(topic + "/#", 1)
            for number in range(30):  # more topics than aliases, each more than once
                await device.publish("%s/%d" % (topic, number % 15), b"%d" % number, 1)
            await inbox.until(30)
            wanted = [("%s/%d" % (topic, n % 15), b"%d" % n) for n in range(30)]
            equal([item[:2] for item in inbox.got], wanted, "messages")
            # A packet larger than we said we take stays with the broker.
            await device.publish(topic + "/large", bytes(600), 1)
            await device.publish(topic + "/small", b"x", 1)
            await inbox.until(31)
            equal((inbox.got[30][1], device.oversized), (b"x", 0), "the next, and dropped ones")

    run(check())


def test_a_refusal_by_mosquitto():
    async def check():
        device = client("wrong5-" + ground, password="guess", version=5)
        async with Running(device, wait=False):
            await until(lambda: device.error, "an error")
            equal((device.error.reason, device.error.code), ("refused", 0x87), "error")
            true("not authorised" in str(device.error), "words: %s" % device.error)

    run(check())


def test_will_with_properties():
    async def check():
        inbox = Inbox()
        topic = "will5/" + ground
        async with Running(client("heir5-" + ground, version=5, on_message=inbox)) as heir:
            await heir.subscribe(topic, 1)
            will = (topic, b"gone", 1, False, {v5.CONTENT_TYPE: "text/plain"})
            async with Running(client("dying5-" + ground, version=5, will=will)):
                pass
            await inbox.until(1)
            equal(inbox.got[0], (topic, b"gone", False, {v5.CONTENT_TYPE: "text/plain"}), "will")

    run(check())


# ---------------------------------------------------------------- other brokers


def record(scene):
    """Of what a scene got: (first byte, body)."""
    return [(int(item[:2], 16), bytes.fromhex(item[2:])) for item in control("record " + scene).split(",")]


def test_limits_that_the_broker_sets():
    async def check():
        device = nasty("limits", "five", version=5)
        async with Running(device):
            equal(device.ping_ms, 500_000, "keepalive as the broker wants it")
            await asyncio.gather(*[device.publish("t", b"%d" % n, 1) for n in range(5)])
            error = await failure(device.publish("t", bytes(100), 1))
            equal((error.reason, error.code), ("refused", 0x95), "too large")
            error = await failure(device.publish("t", b"x", 0, retain=True))
            equal((error.reason, error.code), ("refused", 0x9A), "retained")
            equal((device.window, device.sessions), ([], 1), "window, sessions")
        found = record("limits")
        waiting = [body[0] for kind, body in found if kind == 0xFF and body[0]]
        equal(waiting, [2, 2, 1], "messages that were waiting for an answer at a time")
        heads = [body[:3] + body[5:9] for kind, body in found if kind & 0xF6 == 0x32]
        equal(heads[0], b"\0\1t\x03\x23\0\1", "the first with topic and alias")
        equal(heads[1][:2], b"\0\0", "the next with the alias alone")

    run(check())


def test_aliases_and_reasons_of_the_broker():
    async def check():
        inbox = Inbox()
        device = nasty("speaks", "five", version=5, on_message=inbox, properties={v5.TOPIC_ALIAS_MAXIMUM: 2})
        async with Running(device):
            await inbox.until(2)
            equal([item[:2] for item in inbox.got], [("a/b", b"one"), ("a/b", b"two")], "messages")
            error = await failure(device.subscribe("x"))
            equal((error.reason, error.code), ("refused", 0x87), "subscription")
            true("why" in str(error), "the broker's words: %s" % error)
            error = await failure(device.publish("t", b"x", 1))
            equal((error.reason, error.code), ("refused", 0x97), "message")
            true("quota exceeded (why)" in str(error), "words: %s" % error)
            equal(device.sessions, 1, "sessions")

    run(check())


ENDS = (
    ("refused", "refused"),
    ("connack-short", "protocol"),
    ("connack-beyond", "protocol"),
    ("connack-trailing", "protocol"),
    ("connack-foreign", "protocol"),
    ("property-unknown", "protocol"),
    ("property-twice", "protocol"),
    ("property-cut", "protocol"),
    ("property-text", "protocol"),
    ("properties-beyond", "protocol"),
    ("properties-endless", "protocol"),
    ("properties-missing", "protocol"),
    ("alias-none", "protocol"),
    ("alias-zero", "protocol"),
    ("alias-beyond", "protocol"),
    ("no-topic", "protocol"),
    ("suback-short", "protocol"),
    ("suback-two", "protocol"),
    ("auth", "protocol"),
    ("took-leave", "ended"),
)


def test_what_ends_the_connection_not_the_program():
    async def check():
        failed = []
        some = 3 if ground == "cortex-m3" else 10
        for at in range(0, len(ENDS), some):
            scenes = ENDS[at : at + some]
            await asyncio.gather(*[meet(scene, reason, failed) for scene, reason in scenes])
        equal(failed, [], "scenes that went wrong")

    async def meet(scene, reason, failed):
        inbox = Inbox()
        device = nasty(scene, "five", version=5, on_message=inbox, max_packet=256)
        async with Running(device, wait=False):
            await until(lambda: device.error, "an error in " + scene)
            first = device.error
            await until(lambda: device.error is not first, "a second attempt in " + scene)
            if getattr(first, "reason", repr(first)) != reason or inbox.got:
                failed.append((scene, repr(first), inbox.got))

    run(check())
