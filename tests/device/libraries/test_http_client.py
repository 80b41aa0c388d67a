"""The HTTP client against a server that is as good or as nasty as the path says (peers.py)."""

import asyncio
import binascii
import hashlib

from check import Skip, equal, network, settings, true
from http_client import get as http_client_get
from http_client.get import HttpError

SERVICES = "peers.http"
GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 120


class Sink:
    """Takes the bytes, and remembers only what the test asks for."""

    def __init__(self):
        self.digest = hashlib.sha256()
        self.size = 0
        self.pieces = 0
        self.largest = 0

    def __call__(self, view):
        self.digest.update(view)
        self.size += len(view)
        self.pieces += 1
        self.largest = max(self.largest, len(view))


async def get(path, offset, sink, size, most, port="port", **more):
    address = settings["host"], int(settings[port])
    return await http_client_get.get(*address, path, offset, sink, bytearray(size), most, **more)


def fetch(scene, offset=0, sink=None, size=1024, most=100_000, timeout_s=5, **more):
    """(total or HttpError, sink)"""
    if "host" not in settings:
        raise Skip("needs the peers that conftest.py starts")
    network()
    sink = sink or Sink()
    fetching = get("/p/" + scene, offset, sink, size, most, timeout_s=timeout_s, **more)
    try:
        return asyncio.run(fetching), sink
    except HttpError as error:
        return error, sink


def refused(scene, status, **more):
    """The text of the HttpError that this scene ends with."""
    error, sink = fetch(scene, **more)
    true(isinstance(error, HttpError), "%s: an error, got %r" % (scene, error))
    equal(error.status, status, "%s: %s: status" % (scene, error))
    return str(error)


def test_whole():
    for size in (256, 1000, 4096):
        total, sink = fetch("good", size=size)
        equal(total, int(settings["size"]), "total")
        equal(sink.size, total, "bytes taken")
        true(sink.largest <= size, "pieces of at most the buffer")
        digest = binascii.hexlify(sink.digest.digest()).decode()
        equal(digest, settings["sha256"], "digest")


def test_the_usual_port_is_not_in_the_host_field():
    """As browsers and S3's signatures have it (RFC 9110 section 7.2)."""
    for host, port, tls, said in (
        ("s3.example", 443, True, "s3.example"),
        ("s3.example", 80, False, "s3.example"),
        ("s3.example", 80, True, "s3.example:80"),
        ("s3.example", 443, False, "s3.example:443"),
        ("2001:db8::1", 443, True, "[2001:db8::1]"),
        ("2001:db8::1", 8080, False, "[2001:db8::1]:8080"),
    ):
        lines = http_client_get.head("GET", host, port, "/p/1f", [], tls).decode().split("\r\n")
        equal(lines[1], "Host: " + said, "%s %d" % (host, port))


def test_resumed():
    sink = Sink()
    equal(fetch("cut", sink=sink)[0].status, 0, "a body cut short")
    equal(sink.size, 10_000, "bytes before the cut")
    equal(fetch("cut", offset=sink.size, sink=sink, etag=settings["etag"])[0].status, 0, "cut again")
    equal(sink.size, 20_000, "bytes before the second cut")
    total, _ = fetch("good", offset=sink.size, sink=sink, etag=settings["etag"])
    equal((total, sink.size), (int(settings["size"]),) * 2, "total")
    digest = binascii.hexlify(sink.digest.digest()).decode()
    equal(digest, settings["sha256"], "digest")


def test_resumed_at_the_end():
    total, sink = fetch("good", offset=int(settings["size"]))
    equal((total, sink.size), (int(settings["size"]), 0), "total, bytes taken")
    total, sink = fetch("good", offset=int(settings["size"]) - 1)
    equal((total, sink.size), (int(settings["size"]), 1), "total, bytes taken")
    refused("good", 416, offset=int(settings["size"]) + 1)
    refused("other-total", 416, offset=100)


def test_something_else_there_now():
    refused("good", 200, offset=100, etag='"other"')
    refused("ignores-range", 200, offset=100)
    equal(fetch("ignores-range")[0], int(settings["size"]), "from the start that is no problem")


def test_empty():
    total, sink = fetch("empty")
    equal((total, sink.size), (0, 0), "total, bytes taken")


def test_slow_but_fine():
    total, sink = fetch("slow-but-fine", offset=int(settings["size"]) - 2000)
    equal(sink.size, 2000, "bytes taken")
    total, sink = fetch("byte-wise", offset=int(settings["size"]) - 20)
    equal(sink.size, 20, "bytes taken")


def test_statuses():
    for scene, status in (("missing", 404), ("failed", 503), ("switching", 101), ("moved-silently", 301)):
        refused(scene, status)


def test_wrong_answers():
    for scene, status in (
        ("bad-length", 200),
        ("negative-length", 200),
        ("huge-length", 200),
        ("large", 200),
        ("two-lengths", 0),
        ("twice-coded", 200),
        ("lengths-differ", 0),
        ("long-length", 200),
        ("chunk-cut", 0),
        ("chunk-odd", 0),
        ("chunk-large", 0),
        ("chunk-endless", 0),
        ("bare-cr", 0),
        ("interim-for-ever", 0),
        ("gzip", 200),
        ("surplus", 200),
        ("not-http", 0),
        ("bad-status", 0),
        ("bad-field", 0),
        ("no-colon", 0),
        ("eof", 0),
        ("eof-header", 0),
        ("endless-header", 0),
    ):
        text = refused(scene, status)
        true(len(text) < 90, "a short text: " + text)
    true("header of more than" in refused("endless-header", 0), "the text says why")


def whole(scene, offset=0, **more):
    """The scene brings the whole body, or the rest of it from `offset` on."""
    size = int(settings["size"])
    total, sink = fetch(scene, offset, **more)
    equal((total, sink.size), (size, size - offset), "%s from %d: total, bytes taken" % (scene, offset))
    if not offset:
        equal(binascii.hexlify(sink.digest.digest()).decode(), settings["sha256"], scene)


def test_what_caches_and_proxies_add():
    for offset in (0, 100):
        for size in (256, 1024):
            whole("through-proxies", offset, size=size)
            whole("in-chunks", offset, size=size)
    whole("in-parts", 1)
    whole("no-length")  # to the end of the connection
    for scene in ("chunked", "folded", "bare-lf"):
        equal(fetch(scene)[0], 5, scene)


def test_redirects():
    for scene in ("moved", "moved-near", "moved-here"):
        for offset in (0, 100):
            whole(scene, offset)
    for scene, status, words in (
        ("moved-for-ever", 302, "redirects"),
        ("moved-away", 301, "scheme"),
        ("moved-nowhere", 301, "no address"),
        ("moved-oddly", 301, "no address"),
    ):
        true(words in refused(scene, status), scene)


def test_a_server_says_when_to_come_again():
    equal(fetch("busy")[0].retry_after, 17)
    equal(fetch("busy-until")[0].retry_after, None)
    equal(fetch("missing")[0].retry_after, None)


def test_wrong_ranges():
    for scene in ("wrong-start", "wrong-end", "wrong-length", "no-span", "star-span"):
        refused(scene, 206, offset=100)
    refused("two-spans", 0, offset=100)


def test_larger_than_allowed():
    true("40000 bytes" in refused("good", 200, most=39_999), "the text names the size")
    true("40000 bytes" in refused("good", 206, most=39_999, offset=10), "the text names the size")
    equal(fetch("good", most=40_000)[0], 40_000, "total")


def test_never_more_than_announced():
    total, sink = fetch("endless-body", size=256)
    if isinstance(total, HttpError):  # the surplus came with the header
        equal(sink.size, 0, "bytes taken")
    else:
        equal((total, sink.size), (1000, 1000), "total, bytes taken")


def test_slow_peers():
    network()
    sinks = [Sink() for _ in range(3)]

    async def side_by_side():
        scenes = zip(("silent", "stall", "trickle"), sinks)
        return await asyncio.gather(*[slow(scene, sink) for scene, sink in scenes])

    async def slow(scene, sink):
        try:
            return await get("/p/" + scene, 0, sink, 512, 100_000, timeout_s=1)
        except HttpError as error:
            return error

    errors = asyncio.run(side_by_side())
    equal([error.status for error in errors], [0, 0, 0], "statuses")
    true("no answer" in str(errors[0]), "silent: %r" % errors[0])
    true("nothing more" in str(errors[1]), "stall: %r" % errors[1])
    true("slower than" in str(errors[2]), "trickle: %r" % errors[2])
    equal(sinks[1].size, 1000, "what came before the stall is kept")


def test_nobody_listens():
    refused("good", 0, port="nobody")


def test_a_sink_that_raises():
    class Full(Exception):
        pass

    for kind in (Full, OSError):

        def sink(view, kind=kind):
            raise kind(28)

        try:
            got = fetch("good", sink=sink)
        except kind:
            continue
        raise AssertionError("%s expected, got %r" % (kind.__name__, got))


def test_arguments_that_cannot_be():
    for path in ("p", "", "/a b", "/a\r\nX: y", "/\u00e9"):
        try:
            asyncio.run(http_client_get.get("h", 1, path, 0, None, bytearray(256), 10))
        except ValueError:
            continue
        raise AssertionError("taken: %r" % path)
    try:
        asyncio.run(http_client_get.get("h", 1, "/", 5, None, bytearray(256), 10, etag='W/"1"'))
        raise AssertionError("a weak etag was taken")
    except ValueError:
        pass
    try:
        asyncio.run(http_client_get.get("h", 1, "/", 0, None, bytearray(100), 10))
    except ValueError:
        return
    raise AssertionError("a buffer of 100 bytes was taken")
