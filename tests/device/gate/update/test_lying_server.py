"""A payload server that lies in every way, under the real HTTP client and agent: nothing it says ends the agent,
silences telemetry or bans an image, and once it is right the same offer is taken, in the same boot.
"""

from sim_peers import World, asked, head, now  # noqa: I001 - first: it replaces the clock
from check import equal, true
from sim_gateway import envelope

HEAP = "48m"
TIMEOUT_S = 600
LIES_S = 600  # so long the server lies


class Lies:
    """A server; `right` is what it should send, `start` from where."""

    def __init__(self, world, lie):
        self.world, self.lie = world, lie
        self.count = 0
        self.lied = 0

    def __call__(self, host, port, text):
        if now() > LIES_S * 1000:
            return None
        self.count += 1
        path, start = asked(text)
        self.lied += 1
        return self.lie(self, path, start, self.world.payloads.get(path, b""))


def answer(status, fields=b"", body=b""):
    return [b"HTTP/1.1 %s\r\n" % status + fields + b"\r\n" + body]


def sized(body, status=b"200 OK", fields=b""):
    return answer(status, b"Content-Length: %d\r\n" % len(body) + fields, body)


def ranged(start, data, first, last, total):
    fields = b"Content-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n" % (first, last, total, len(data))
    return answer(b"206 Partial", fields, data)


def for_ever(part, pause=0):
    while True:
        yield part
        if pause:
            yield pause


def after(first, more):
    yield first
    for part in more:
        yield part


def flipped(data):
    changed = bytearray(data)
    if changed:
        changed[len(changed) // 2] ^= 1
    return bytes(changed)


def chunks(data, size):
    out = b""
    for at in range(0, len(data), size):
        part = data[at : at + size]
        out += b"%x\r\n" % len(part) + part + b"\r\n"
    return out + b"0\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"


def moved(place, status=b"302 Found"):
    return lambda lies, path, start, data: answer(status, b"Location: " + place + b"\r\nContent-Length: 0\r\n")


def status(line, fields=b""):
    return lambda lies, path, start, data: answer(line, fields + b"Content-Length: 0\r\n")


def said(*parts):
    return lambda lies, path, start, data: list(parts)


def no_range_and_cut(lies, path, start, data):
    """A proxy that knows no ranges, and gives up before the end."""
    return [head(data, 0), data[: len(data) - 10]]


def part_by_part(lies, path, start, data):
    return ranged(start, data[start : start + 1], start, start, len(data))


LIES = (
    ("a byte too few, said so", lambda lies, path, start, data: sized(data[start:-1])),
    ("a byte too many, said so", lambda lies, path, start, data: sized(data + b"x")),
    ("cut by a byte", lambda lies, path, start, data: [head(data, start), data[start:-1]]),
    ("one bit", lambda lies, path, start, data: [head(data, start), flipped(data)[start:]]),
    ("another payload", lambda lies, path, start, data: sized(b"an older release" * 40)),
    ("all zero", lambda lies, path, start, data: [head(data, start), bytes(len(data) - start)]),
    ("nothing at all", lambda lies, path, start, data: []),
    ("empty", lambda lies, path, start, data: sized(b"")),
    ("no content", status(b"204 No Content")),
    ("endless", lambda lies, path, start, data: after(b"HTTP/1.1 200 OK\r\n\r\n", for_ever(bytes(500)))),
    ("endless and said", lambda lies, path, start, data: after(head(bytes(9), 0), for_ever(bytes(500)))),
    ("endless after a range", lambda lies, path, start, data: after(head(data, start), for_ever(bytes(500)))),
    ("drips the body", lambda lies, path, start, data: after(head(data, start), for_ever(b"x", 20_000))),
    ("drips the head", lambda lies, path, start, data: for_ever(b"H", 20_000)),
    ("drips fields", lambda lies, path, start, data: after(b"HTTP/1.1 200 OK\r\n", for_ever(b"A: b\r\n", 9_000))),
    ("silent", said(60_000)),
    ("stops in the middle", lambda lies, path, start, data: [head(data, start), data[start : start + 300], 90_000]),
    ("200 for 206 and cut", no_range_and_cut),
    ("range shifted", lambda lies, path, start, data: ranged(start, data, start + 1, start + len(data), 1 << 20)),
    ("range without unit", lambda lies, path, start, data: answer(b"206 P", b"Content-Range: 0-1/2\r\n", data)),
    ("range of nothing", lambda lies, path, start, data: answer(b"206 P", b"Content-Range: bytes */5\r\n", data)),
    ("a byte a part", part_by_part),
    ("past the end", status(b"416 R", b"Content-Range: bytes */9999\r\n")),
    ("past the end, all", lambda lies, path, start, data: answer(b"416 R", b"Content-Range: bytes */%d\r\n" % start)),
    ("in circles", moved(b"/p/again")),
    ("to itself", lambda lies, path, start, data: answer(b"301 M", b"Location: %s\r\n" % path.encode())),
    ("to https", moved(b"https://server/p/x")),
    ("to a file", moved(b"file:///etc/passwd", b"307 T")),
    ("to nowhere", moved(b"http://")),
    ("to a long name", moved(b"http://" + b"a" * 300 + b"/", b"308 P")),
    ("to dots", moved(b"http://a..b/", b"308 P")),
    ("to port 0", moved(b"http://server:0/")),
    ("to no utf-8", moved(b"/\xff\xfe")),
    ("to a long place", moved(b"/" + b"x" * 900)),
    ("gzip", lambda lies, path, start, data: sized(data[start:], fields=b"Content-Encoding: gzip\r\n")),
    ("gzip, chunked", said(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
    ("chunks without end", lambda lies, path, start, data: answer(b"200 OK", CHUNKED, chunks(data, 7)[:-5])),
    ("chunks of nonsense", lambda lies, path, start, data: answer(b"200 OK", CHUNKED, b"\xff\xfe\r\nabc")),
    ("chunks below 0", lambda lies, path, start, data: answer(b"200 OK", CHUNKED, b"-1\r\nabc\r\n")),
    ("chunks too large", lambda lies, path, start, data: answer(b"200 OK", CHUNKED, b"FFFFFFFF\r\n" + data)),
    ("chunk without its end", lambda lies, path, start, data: answer(b"200 OK", CHUNKED, b"3\r\nabcd\r\n0\r\n\r\n")),
    ("trailers for ever", lambda lies, path, start, data: after(
        b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n0\r\n", for_ever(b"X: y\r\n"))),
    ("interim for ever", lambda lies, path, start, data: for_ever(b"HTTP/1.1 100 Continue\r\n\r\n")),
    ("a head of a megabyte", lambda lies, path, start, data: after(
        b"HTTP/1.1 200 OK\r\n", (b"X: " + bytes([97]) * 997 + b"\r\n" for _ in range(1000)))),
    ("a field of a megabyte", lambda lies, path, start, data: after(
        b"HTTP/1.1 200 OK\r\nX: ", (bytes([97]) * 1000 for _ in range(1000)))),
    ("TLS", said(b"\x16\x03\x03\x00\x5a\x02" + bytes(90))),
    ("a TLS alert", said(b"\x15\x03\x01\x00\x02\x02\x46")),
    ("SSH", said(b"SSH-2.0-OpenSSH_9.2\r\n")),
    ("HTTP/2", said(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18))),
    ("HTTP/0.9", lambda lies, path, start, data: [data]),
    ("switches", said(b"HTTP/1.1 101 Switching\r\n\r\n")),
    ("unauthorised", status(b"401 U")),
    ("forbidden", status(b"403 F")),
    ("missing", status(b"404 N")),
    ("gone", status(b"410 G")),
    ("too many", status(b"429 T", b"Retry-After: 99999999999999999999\r\n")),
    ("busy till a date", status(b"503 B", b"Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n")),
    ("busy below 0", status(b"503 B", b"Retry-After: -1\r\n")),
    ("not modified", status(b"304 N")),
    ("a login page", said(b"HTTP/1.1 511 N\r\nContent-Type: text/html\r\n\r\n<html>")),
    ("status 999", said(b"HTTP/1.1 999 X\r\n\r\n")),
    ("status 000", said(b"HTTP/1.1 000 X\r\n\r\n")),
    ("lengths differ", said(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
    ("a length of 20 digits", said(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n")),
)  # fmt: skip

# All bytes come in the end, in however many attempts.
THROUGH = ("stops in the middle", "chunks without end", "a byte a part")


def told(name, offer="patch"):
    """One lie: how it ended, as text, "" if all is well."""
    lie = dict(LIES)[name]
    world = World()
    try:
        world.flash(1)
        world.offer = envelope(offer)
        world.server = lies = Lies(world, lie)
        try:
            world.run(6, 2, boots=3)
        except Exception as error:
            return "%s: %s: %r" % (name, type(error).__name__, error)
        boots = world.boots
        problems = []
        if len(boots) != 2:
            problems.append("boots %r" % (boots,))
        if not lies.lied:
            problems.append("it was never asked")
        if 7 in [m[-258] for t, m in world.heard if t == "report"]:
            problems.append("rolled back")
        if name in THROUGH:
            return ", ".join(problems)
        if 9 not in [m[-258] for t, m in world.heard if t == "report"]:
            problems.append("nothing was reported: %r" % world.phases())
        if lies.lied > 80:
            problems.append("asked %d times" % lies.lied)
        sent = [when for when in world.telemetry() if when < LIES_S * 1000]
        if len(sent) < 40:
            problems.append("%d messages of telemetry" % len(sent))
        return ", ".join(["%s: %s" % (name, problem) for problem in problems])
    finally:
        world.close()


def test_every_lie_passes():
    wrong = [told(name) for name, _ in LIES]
    equal([text for text in wrong if text], [])


def test_every_lie_passes_for_a_whole_image():
    names = ("200 for 206 and cut", "a byte a part", "endless", "endless after a range", "one bit", "drips the body")
    wrong = [told(name, "image") for name in names]
    equal([text for text in wrong if text], [])


def test_cut_at_each_byte_of_the_head():
    world = World()
    try:
        world.flash(1)
        world.offer = envelope("patch")
        counts = []

        def cut(host, port, text):
            path, start = asked(text)
            data = world.payloads[path]
            whole = head(data, start)
            counts.append(1)
            if len(counts) > len(whole):
                return None
            return [whole[: len(counts)]]

        world.server = cut
        world.run(6, 2)
        true(len(counts) >= 39, len(counts))
    finally:
        world.close()
