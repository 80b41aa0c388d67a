"""What an MQTT client is given is judged at once: a value that it could not send ends neither it nor its connection."""

from array import array

from check import equal, ground, raises, true
from mqtt import Client, MqttError
from mqtt_control import Inbox, Running, client, failure, run, until

SERVICES = "peers.mqtt"
GROUNDS = ("cpython", "unix", "cortex-m3")
MARKS = ("broker",)
TIMEOUT_S = 120

PAYLOADS = (
    None,
    5,
    2.5,
    True,
    [1, 2],
    ["a"],
    (1, 2),
    {"a": 1},
    {1, 2},
    object(),
    array("h", [1, 2, 3]),
    array("I", [7]),
)
TOPICS = ("", "a/+", "#", "a\0b", "x" * 256, "\u20ac" * 86, None, b"t", 5)
QOS = (2, 3, -1, 0.5, 1.0, None, "1", [1])


async def refused(coroutine, what):
    try:
        value = await coroutine
    except (ValueError, TypeError):
        return
    raise AssertionError("%s was taken: %r" % (what, value))


def test_what_cannot_be_sent_is_refused_and_the_connection_goes_on():
    async def check():
        inbox = Inbox()
        topic = "door/" + ground
        device = client("door-" + ground, on_message=inbox)
        async with Running(device):
            await device.subscribe(topic)
            for qos in (0, 1):
                for payload in PAYLOADS:
                    await refused(device.publish(topic, payload, qos), "payload %r" % (payload,))
                    await refused(device.publish(topic, payload, qos, size=3), "reader %r" % (payload,))
                for bad in TOPICS:
                    await refused(device.publish(bad, b"x", qos), "topic %r" % (bad,))
            for qos in QOS:
                await refused(device.publish(topic, b"x", qos), "QoS %r" % (qos,))
                await refused(device.subscribe(topic + "/b", qos), "QoS %r" % (qos,))
            for size in (-1, 2.5, "3", 1 << 29):
                await refused(device.publish(topic, b"x", 1, size=size), "size %r" % (size,))
            await refused(device.publish(topic, b"x", 1, timeout_s="1"), "a timeout of text")
            for bad in ("a+", "+a", "a/#/b", "#a", "", "a\0", None, "\u20ac" * 86):
                await refused(device.subscribe(bad), "filter %r" % (bad,))
            good = (b"1", "2", bytearray(b"3"), memoryview(b"45")[:1], array("B", [53]))
            for payload in good:
                await device.publish(topic, payload, 1)
            await inbox.until(len(good))
            equal([payload for _, payload, _ in inbox.got][: len(good)], [b"1", b"2", b"3", b"4", b"5"])
            equal((device.sessions, device.error), (1, None))

    run(check())


class Spoilt:
    """A payload that is all right at the door, and not when its turn comes."""

    def __len__(self):
        return 4


def test_a_message_that_cannot_be_written_ends_alone():
    async def check():
        device = client("spoilt-" + ground)
        device.backoff_base_ms = 50
        async with Running(device):
            from mqtt.requests import Request

            for kind in (0x30, 0x32):
                sessions = device.sessions
                error = await failure(device.send(Request(kind, b"t", Spoilt())))
                equal(error.reason, "source")
                await until(lambda sessions=sessions: device.sessions > sessions, "the next connection")
                equal(device.window, [])
            await device.publish("t", b"after it", 1)

    run(check())


def test_functions_that_raise_are_counted_and_said_a_few_times():
    async def check():
        said = []

        def broken(*_):
            raise RuntimeError("broken")

        device = client("broken-" + ground, on_message=broken, on_connect=broken, log=said.append)
        device.rng = broken
        topic = "broken/" + ground
        async with Running(device):
            await device.subscribe(topic)
            for _ in range(20):
                await device.publish(topic, b"x", 1)
            await until(lambda: device.handler_errors >= 21, "handler errors")
            equal(device.sessions, 1)
        true(sum("a handler raised" in line for line in said) <= 6, said)
        device = client("log-" + ground, log=broken)
        async with Running(device):
            await device.publish(topic, b"x", 1)

    run(check())


def test_a_client_is_judged_when_it_is_made():
    for bad in (
        {"port": 0},
        {"port": 65536},
        {"port": "1883"},
        {"keepalive": 1},
        {"keepalive": 60.5},
        {"max_packet": 15},
        {"max_packet": 1e3},
        {"window": 0},
        {"window": 1.5},
        {"version": 3},
        {"reply_ms": 0},
        {"connect_ms": "1"},
        {"backoff_cap_ms": 2.5},
        {"on_message": 5},
        {"log": "print"},
        {"user": "a\0b"},
        {"user": 5},
        {"password": ["x"]},
        {"will": ("t", [1], 0, False)},
        {"will": ("t", 5, 0, False)},
        {"will": ("t", b"x", 3, False)},
        {"will": ("t/#", b"x", 0, False)},
        {"will": ("t", b"x" * 65536, 0, False)},
    ):
        raises(ValueError, Client, "id", "127.0.0.1", **bad)
    for host in ("", "a b", "a\n", "\u00f6", None, 5, b"h"):
        raises(ValueError, Client, host and "id", host)
    raises(ValueError, Client, 5, "127.0.0.1")
    raises(TypeError, Client, "id", "127.0.0.1", no_such_option=1)
    Client("id", "::1", will=("t", "\0 any text", 2, True))
    true(issubclass(MqttError, Exception))


def test_text_that_no_broker_takes():
    from mqtt import packet

    for code in (0xD800, 0xDABC, 0xDFFF):
        raises(ValueError, packet.topic_bytes, "a" + chr(code))
        raises(ValueError, packet.pack, chr(code) + "b")
    equal(packet.topic_bytes("\ud7ff\ue000"), b"\xed\x9f\xbf\xee\x80\x80")
