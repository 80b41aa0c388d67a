"""CoAP messages as bytes, what is done with bad ones, and the tables of the message layer."""

from check import Random, Skip, equal, raises, true
from coap.block import Body, CoapError
from coap.exchange import Outbox, Recent
from coap.message import Message, encode, insert
from coap.observe import Observation
from coap.udp import ticks_ms

GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 180

GOOD, IGNORED, MALFORMED = 0, 1, 2
CON, NON, ACK, RST = 0, 1, 2, 3

_buf = bytearray(1200)
_message = Message()


def written(kind, code, mid, token, options, payload=None):
    return bytes(_buf[: encode(_buf, kind, code, mid, token, options, payload)])


def read(data):
    """(verdict, message)"""
    return _message.decode(data, len(data)), _message


def test_the_examples_of_the_rfc():
    """RFC 7252, appendix A, figures 16 and 17."""
    request = written(CON, 1, 0x7D34, b"", [(11, b"temperature")])
    equal(request, b"\x40\x01\x7d\x34\xbbtemperature", "request")
    answer = written(ACK, 205, 0x7D34, b"", [], b"22.3 C")
    equal(answer, b"\x60\x45\x7d\x34\xff22.3 C", "answer")
    request = written(CON, 1, 0x7D35, b"\x20", [(11, b"temperature")])
    equal(request, b"\x41\x01\x7d\x35\x20\xbbtemperature", "with a token")
    verdict, message = read(answer)
    equal((verdict, message.kind, message.code, message.mid), (GOOD, ACK, 205, 0x7D34), "answer")
    equal(bytes(message.payload()), b"22.3 C", "payload")


def test_extended_deltas_and_lengths():
    """Section 3.1: 12, 13, 268, 269 and what lies beyond, for both."""
    for number in (2, 12, 14, 252, 268, 270, 282, 284, 65000, 65534):
        for size in (0, 1, 12, 13, 14, 268, 269, 270, 800):
            if number in (12, 14, 252) and size != 2:
                continue  # their lengths are known
            value = bytes(n & 255 for n in range(size))
            verdict, message = read(written(NON, 205, 7, b"", [(number, value)], b"x"))
            equal(verdict, GOOD, "verdict of option %d with %d bytes" % (number, size))
            equal(message.values(number), [value], "value")
            equal(bytes(message.payload()), b"x", "payload")
    # A delta of more than two bytes' worth of options is nothing that CoAP has.
    equal(read(b"\x50\x45\0\7\xe0\xff\xff\xe0\xff\xff")[0], MALFORMED, "option number beyond 65535")


def test_numbers_take_as_few_bytes_as_they_can():
    for value, wanted in ((0, b""), (1, b"\1"), (255, b"\xff"), (256, b"\1\0"), (1 << 24, b"\1\0\0\0")):
        verdict, message = read(written(CON, 1, 7, b"", [(60, value)]))
        equal((verdict, message.values(60), message.uint(60)), (GOOD, [wanted], value), "Size1")
    equal(_message.uint(28), None, "an option that is not there")
    equal(_message.uint(28, 5), 5, "its default")


def test_options_are_kept_in_order():
    options = []
    for number, value in ((15, b"b=1"), (11, b"one"), (15, b"a=2"), (11, b"two"), (3, b"host"), (60, 5)):
        insert(options, number, value)
    wanted = [(3, b"host"), (11, b"one"), (11, b"two"), (15, b"b=1"), (15, b"a=2"), (60, 5)]
    equal(options, wanted, "options")
    error = raises(ValueError, encode, _buf, CON, 1, 7, b"", [(11, b"x"), (3, b"y")])
    true("order" in str(error), "an error that says so: %s" % error)


def test_round_trips():
    rng = Random(5)
    for _ in range(100):
        options = []
        for _ in range(rng.below(8)):
            insert(options, (8, 11, 15, 20, 292, 2048)[rng.below(6)], rng.data(rng.below(9)))
        token = rng.data(rng.below(9))
        payload = rng.data(rng.below(60)) or None
        code = (1, 2, 3, 4, 5, 205, 231, 404, 500)[rng.below(9)]
        kind, mid = rng.below(3), rng.below(65536)
        verdict, message = read(written(kind, code, mid, token, options, payload))
        equal(verdict, GOOD, "verdict")
        equal((message.kind, message.code, message.mid), (kind, code, mid), "header")
        true(message.has_token(token), "its token")
        equal(message.token(), token, "token")
        true(not message.has_token(token + b"x") and not message.has_token(b"other"), "another token")
        equal(message.values(), options, "options")
        equal(bytes(message.payload()), payload or b"", "payload")


def test_what_is_malformed():
    for data, verdict in (
        (b"", IGNORED),
        (b"\x40\1\0", IGNORED),
        (b"\x00\1\0\7", IGNORED),  # version 0
        (b"\x80\1\0\7", IGNORED),  # version 2
        (b"\x40\0\0\7", GOOD),  # empty
        (b"\x41\0\0\7t", MALFORMED),  # empty, with a token
        (b"\x40\0\0\7\xffx", MALFORMED),  # empty, with a payload
        (b"\x49\1\0\x07123456789", MALFORMED),  # a token of 9 bytes
        (b"\x48\1\0\x071234567", MALFORMED),  # a token cut short
        (b"\x40\x20\0\7", MALFORMED),  # code class 1
        (b"\x40\xc1\0\7", MALFORMED),  # code class 6
        (b"\x40\xe1\0\7", MALFORMED),  # code class 7
        (b"\x40\1\0\7\xff", MALFORMED),  # a marker without a payload
        (b"\x40\1\0\7\xf1x", MALFORMED),  # delta 15
        (b"\x40\1\0\7\x1f", MALFORMED),  # length 15
        (b"\x40\1\0\7\xd0", MALFORMED),  # delta cut short
        (b"\x40\1\0\7\xe0\0", MALFORMED),
        (b"\x40\1\0\7\x2e\0", MALFORMED),  # length cut short
        (b"\x40\1\0\7\xb4abc", MALFORMED),  # value cut short
    ):
        equal(read(data)[0], verdict, repr(data))


def test_options_that_are_not_understood():
    """Sections 5.4.1, 5.4.3 and 5.4.5: critical ones are told, elective ones passed over."""
    for options, refused in (
        ([(9, b"x")], 9),  # OSCORE
        ([(2049, b"x")], 2049),
        ([(2048, b"x")], 0),
        ([(3, b"")], 3),  # Uri-Host of no bytes
        ([(7, b"abc")], 7),  # Uri-Port of three
        ([(17, b"\1"), (17, b"\2")], 17),  # Accept twice
        ([(12, b"\1"), (12, b"\2")], 0),  # Content-Format twice: the first counts
        ([(4, b"123456789")], 0),  # an ETag too long: none
        ([(11, b"a"), (11, b"a")], 0),  # Uri-Path is repeatable
        ([(35, b"coap://x")], 35),  # Proxy-Uri
    ):
        verdict, message = read(written(CON, 1, 7, b"", options))
        equal((verdict, message.refused), (GOOD, refused), "%r" % (options,))
    equal(read(written(CON, 1, 7, b"", [(12, b"\1"), (12, b"\2")]))[1].values(12), [b"\1"], "the first")
    equal(read(written(CON, 1, 7, b"", [(4, b"123456789")]))[1].values(4), [], "no ETag")


def test_more_options_than_there_is_room_for():
    for count, verdict in ((24, GOOD), (25, MALFORMED), (200, MALFORMED)):
        equal(read(written(CON, 1, 7, b"", [(11, b"a")] * count))[0], verdict, "%d options" % count)


def test_a_message_that_does_not_fit():
    small = bytearray(20)
    equal(encode(small, CON, 1, 7, b"1234", [], b"12345678901"), 20, "a full buffer")
    raises(ValueError, encode, small, CON, 1, 7, b"1234", [], b"123456789012")
    raises(ValueError, encode, small, CON, 1, 7, b"1234", [(11, b"123456789012")])
    raises(ValueError, encode, bytearray(8), CON, 1, 7, b"12345", [])


def test_whatever_is_cut_or_changed():
    """No input raises; what is read stays within the message."""
    whole = written(CON, 2, 7, b"tokn", [(11, b"path"), (12, 60), (23, 0x1234), (252, b"e" * 20)], b"pay")
    for size in range(len(whole)):
        look(whole[:size])
    rng = Random(9)
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(1 + rng.below(3)):
            data[rng.below(len(data))] = rng.below(256)
        look(bytes(data))
        look(rng.data(rng.below(60)))


def look(data):
    verdict, message = read(data)
    if verdict == GOOD:
        equal(sum(len(value) for _, value in message.values()) <= len(data), True, "sizes")
        message.payload()
        message.uint(23)


def test_no_allocation():
    """Encoding and decoding take nothing from the heap; with a payload, the slice that copies it."""
    try:
        from micropython import heap_lock, heap_unlock
    except ImportError:
        raise Skip("only MicroPython locks its heap")
    token, options = b"tokn", [(11, b"telemetry"), (12, 112), (27, 0x123), (258, 26)]
    buf, message = bytearray(200), Message()
    size = encode(buf, CON, 2, 7, token, options)
    seen = [0, 0, 0, None]  # made before, so that nothing is made while the heap is locked
    heap_lock()
    try:
        for _ in range(3):
            seen[0] = encode(buf, CON, 2, 7, token, options)
            seen[1] = message.decode(buf, size)
            seen[2] = message.uint(27)
            seen[3] = message.has_token(token)
    finally:
        heap_unlock()
    equal(seen, [size, GOOD, 0x123, True], "what was made and read")
    payload = bytes(100)
    import gc

    if hasattr(gc, "mem_alloc"):
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        for _ in range(10):
            encode(buf, CON, 2, 7, token, options, payload)
        used = gc.mem_alloc() - before
        gc.enable()
        true(used <= 10 * 64, "bytes for ten messages with a payload: %d" % used)


def test_duplicates_are_known_for_a_while():
    recent = Recent(3)
    entry = recent.add(1, b"one", "peer")
    equal(recent.find(1, "peer") is entry, True, "the entry")
    equal(recent.find(1, "other"), None, "the same id of another peer")
    recent.add(2, None, "peer")
    recent.add(3, None, "peer")
    equal(recent.find(1, "peer") is entry, True, "the oldest of three")
    recent.add(4, None, "peer")
    equal(recent.find(1, "peer"), None, "the oldest of four")


class Wire:
    """A socket that keeps what is sent."""

    def __init__(self):
        self.sent = []

    def send(self, view):
        self.sent.append(bytes(view))


class Owner:
    def __init__(self):
        self.outcome = None

    def ended(self, outcome):
        self.outcome = outcome


def test_repetitions_get_rarer_and_end():
    """Section 4.2: four repetitions, each twice as far from the last; then it is given up."""
    from time import sleep

    wire, owner = Wire(), Owner()
    outbox = Outbox(wire, 0.01)
    outbox.send(7, b"message", owner)
    for _ in range(400):
        outbox.tick()
        if owner.outcome is not None:
            break
        sleep(0.005)
    equal((wire.sent, owner.outcome, outbox.waiting), ([b"message"] * 5, 2, []), "repetitions, end")


def test_an_acknowledgement_ends_repetitions():
    wire, owner = Wire(), Owner()
    outbox = Outbox(wire, 5)
    outbox.send(7, b"message", owner)
    equal(outbox.end(0, 8), False, "an acknowledgement of something else")
    equal((outbox.end(0, 7), owner.outcome, outbox.waiting), (True, 0, []), "acknowledged")
    equal(outbox.end(0, 7), False, "twice")
    outbox.send(9, b"message", owner)
    outbox.forget(owner)
    equal(outbox.waiting, [], "forgotten")


def test_newer_notifications():
    """RFC 7641 section 3.4: 24 bits that wrap around."""
    watch = Observation(None, [], 0, 0)
    watch._since = ticks_ms()
    for last, now, newer in (
        (None, 5, True),
        (5, None, True),
        (5, 6, True),
        (6, 5, False),
        (5, 5, False),
        (0xFFFFFF, 0, True),
        (0, 0xFFFFFF, False),
        (0, (1 << 23) - 1, True),
        (0, (1 << 23) + 1, False),
    ):
        watch._sequence = last
        equal(watch._newer(now), newer, "%r after %r" % (now, last))


def test_a_busy_peer_says_how_long_it_will_be():
    """Max-Age of 5.03 (RFC 7252, 5.9.3.4), and of nothing else."""
    for code, options, wanted in ((503, [(14, 30)], 30), (503, [], 0), (500, [(14, 30)], 0)):
        _, message = read(written(ACK, code, 7, b"", options))
        error = raises(CoapError, Body(None, 0, 100, None, 5, True).take, message)
        equal((error.code, error.retry_after), (code, wanted), "answer")
