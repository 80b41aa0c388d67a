"""The hot paths of the MQTT client allocate nothing: they run here with the heap locked."""

import gc

from check import equal, skip, true
from mqtt import Client
from mqtt import packet as wire
from mqtt.requests import Request

GROUNDS = ("unix", "cortex-m3")

try:
    from micropython import heap_lock, heap_unlock
except ImportError:
    heap_lock = None


def client(packets, **options):
    """A Client that has received these bytes."""
    if not heap_lock:
        skip("this MicroPython cannot lock its heap")
    made = Client("hot", "127.0.0.1", max_packet=256, **options)
    made.rx[: len(packets)] = packets
    made.start, made.end = 0, len(packets)
    made.sessions, made.connected = 1, True
    return made


def test_a_message_is_encoded():
    client(b"")
    buf = memoryview(bytearray(64))
    topic = b"tg/gate/up/tele/supply"
    heap_lock()
    try:
        size = wire.head(buf, 0x32, topic, 0x1234, 300)
        end = wire.put_ack(buf, size, 0xFFFE)
    finally:
        heap_unlock()
    wanted = b"\x32\xc6\x02" + b"\0\x16" + topic + b"\x12\x34" + b"\x40\x02\xff\xfe"
    equal(bytes(buf[:end]), wanted, "bytes")


def test_acknowledgements_are_taken():
    made = client(b"\x40\x02\x00\x07" + b"\xd0\x00" + b"\x40\x02\x00\x08")
    waiting = []
    for kind, number in ((0x32, 7), (0xC0, 0), (0x32, 8)):
        item = Request(kind, b"topic", b"payload")
        item.id, item.session = number, 1
        waiting.append(item)
        made.window.append(item)
    there = 0
    heap_lock()
    try:
        while made.peek():
            end = made.start + made.size
            made.unpack(end)
            made.start = end
            there += 1
    finally:
        heap_unlock()
    equal(there, 3, "packets")
    equal([item.value for item in waiting], [0, 0, 0], "answers")
    equal(made.window, [], "window")


def test_a_message_is_parsed():
    made = client(b"\x32\x0c\x00\x03a/b\x12\x34value" + b"\x30\x05\x00\x03a")
    heap_lock()
    try:
        whole = made.peek()
        stop = wire.parse_publish(made.rx, made.kind, made.start, made.start + made.size)
        good = stop and wire.is_topic(b"a/b")
    finally:
        heap_unlock()
    true(whole and good, "parsed")
    equal(bytes(made.rx[stop + 2 : made.start + made.size]), b"value", "payload")
    made.start += made.size
    heap_lock()
    try:
        whole = made.peek()
    finally:
        heap_unlock()
    equal(whole, False, "a packet of which a part is missing")


def test_what_a_handler_costs():
    """A topic and two views: that is all a message allocates on its way to the handler."""
    heard = [0]

    def handler(topic, payload, retained):
        heard[0] += len(payload)

    made = client(b"\x30\x0a\x00\x03a/bvalue", on_message=handler)
    true(made.peek(), "a packet")
    end = made.start + made.size
    made.message(end)
    gc.collect()
    gc.disable()
    try:
        before = gc.mem_alloc()
        for _ in range(20):
            made.message(end)
        used = gc.mem_alloc() - before
    finally:
        gc.enable()
    equal(heard[0], 21 * 5, "bytes heard")
    word = 4 if gc.mem_alloc() + gc.mem_free() < 140_000 else 8  # of the host's, twice as large
    true(used // 20 <= 40 * word, "%d bytes a message" % (used // 20))
    print("# %d bytes a message" % (used // 20))
