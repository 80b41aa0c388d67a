# ruff: noqa: UP031 - runs on MicroPython
"""A CoAP server with the resources of ETSI's plugtests, made with the device's library.

micropython coap_device_server.py PORT [ADDRESS [ACK_TIMEOUT_S]]
"""

import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0] + "/firmware/lib")

import asyncio
import gc

from coap import server as coap_server
from coap.server import Reply

LARGE = b"".join(b"%03d a line of a large body\n" % n for n in range(60))  # 1620 bytes
store = {}  # what was put: path -> bytes
value = {"/obs": 0, "/obs-non": 0, "/obs-large": 0, "/obs-pumping": 0}
formats = {"/obs": 0}
posts = []  # bodies of POST to /count: each once, whatever the network does


def test(request):
    """GET, PUT, POST, DELETE of /test; POST tells where it made something (CORE_18)."""
    if request.method == 1:
        return Reply(205, b"Type: %d\nCode: %d" % (request.message.kind, request.method), format=0)
    if request.method == 2:
        places = tuple((8, part) for part in (b"location1", b"location2", b"location3"))
        return Reply(201, options=places)
    return None


def validate(request):
    body = store.get("/validate", b"the first value")
    tag = b"%08x" % (hash(bytes(body)) & 0xFFFFFFFF)
    if request.method == 3:
        wanted = request.values(1)
        if wanted and tag not in wanted:
            return Reply(412)
        store["/validate"] = bytes(request.payload)
        return Reply(204)
    if tag in request.values(4):
        return Reply(203, etag=tag)
    return Reply(205, body, format=0, etag=tag)


def create(request):
    if request.method == 4:
        store.pop("/create1", None)
        return Reply(202)
    if request.method == 1:
        return Reply(205, store["/create1"]) if "/create1" in store else Reply(404)
    if request.uint(5) is not None and "/create1" in store:
        return Reply(412)
    made = "/create1" not in store
    store["/create1"] = bytes(request.payload)
    return Reply(201 if made else 204)


def formats_of(request):
    accept = request.uint(17, 0)
    if accept == 41:
        return Reply(205, b"<value>1</value>", format=41)
    return Reply(205, b"value 1", format=0) if accept == 0 else Reply(406)


async def separate(request):
    await asyncio.sleep(0.7)
    return Reply(205, b"it took a while", format=0)


def query(request):
    return Reply(205, b"&".join(request.values(15)), format=0)


def location_query(request):
    return Reply(201, options=((20, b"first=1"), (20, b"second=2")))


def large(request):
    return Reply(205, LARGE, format=0)


def streamed(request):
    """A body that is nowhere in memory."""

    def read(offset, view):
        for at in range(len(view)):
            view[at] = (offset + at) * 7 & 255

    return Reply(205, read, size=100000, etag=b"streamed")


def large_update(request):
    if request.method == 3:
        store["/large-update"] = bytes(request.payload)
        return Reply(204)
    return Reply(205, store.get("/large-update", LARGE), format=0)


def large_create(request):
    store["/large-create"] = bytes(request.payload)
    return Reply(201, options=((8, b"large-create"), (8, b"1")))


def large_post(request):
    return Reply(204, bytes(request.payload).upper(), format=0)


def observed(request):
    if request.method == 3:
        value[request.path] = int(bytes(request.payload))
        server.changed(request.path)
        return Reply(204)
    if request.method == 4:
        server.remove(request.path)
        return Reply(202)
    text = b"%d" % value[request.path]
    if request.path == "/obs-large":
        text = (text + b" ") * (LARGE_SIZE // (len(text) + 1))
    if request.path == "/obs-pumping":
        text = (text + b" ") * (1 + value[request.path] % 4 * 200)
    return Reply(205, text, format=formats.get(request.path, 0), max_age=2)


LARGE_SIZE = 1500


def control(request):
    """What a test wants to happen: "tick /obs", "format /obs 41", "again /obs"."""
    words = str(bytes(request.payload), "utf-8").split()
    if words[0] == "tick":
        value[words[1]] += 1
        server.changed(words[1])
    elif words[0] == "format":
        formats[words[1]] = int(words[2])
        server.changed(words[1])
    elif words[0] == "again":
        formats.pop(words[1], None)
        observable(words[1])
    elif words[0] == "observers":
        return Reply(205, b"%d" % (len(server.observers._all) if server.observers else 0))
    return Reply(204)


def count(request):
    if request.method == 4:
        posts.clear()
        return None
    if request.method == 2:
        if len(posts) < 100:
            posts.append(bytes(request.payload[:8]))
        return Reply(204, b"%d" % len(posts))
    return Reply(205, b"%d of %d" % (len(set(posts)), len(posts)))


taken = [0, 0]


def sink(request):
    """A body of any size, not kept: its bytes and their sum."""
    if request.method == 3:
        if request.offset == 0:
            taken[:] = [0, 0]
        taken[0] += len(request.payload)
        taken[1] += sum(request.payload)
        return Reply(231) if request.more else Reply(204)
    return Reply(205, b"%d %d" % tuple(taken))


def heap(request):
    gc.collect()
    gc.collect()
    return b"%d" % (gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0)


def broken(request):
    raise ValueError("a handler that fails")


def observable(path):
    server.add(
        path,
        observed,
        put=observed,
        delete=observed,
        links='rt="observe"',
        observable=True,
        confirmable=path != "/obs-non",
    )


def link(request):
    return b"a link"


where = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
haste = float(sys.argv[3]) if len(sys.argv) > 3 else 2
server = coap_server.Server(where, int(sys.argv[1]), failed=lambda request, error: None, ack_timeout_s=haste)
server.add("/test", test, test, test, test, links='title="Default test resource"')
server.add("/validate", validate, put=validate)
server.add("/create1", create, put=create, delete=create)
server.add("/multi-format", formats_of, links='ct="0 41"')
server.add("/separate", separate, separate)
server.add("/seg1/seg2/seg3", test, links='title="Long path"')
server.add("/query", query)
server.add("/location-query", post=location_query)
server.add("/large", large, links="sz=%d" % len(LARGE))
server.add("/streamed", streamed)
server.add("/large-update", large_update, put=large_update)
server.add("/large-create", post=large_create)
server.add("/large-post", post=large_post)
for name in value:
    observable(name)
server.add("/link1", link, links='rt="Type1 Type2";if="If1"')
server.add("/link2", link, links='rt="Type2 Type3";if="If2"')
server.add("/link3", link, links='rt="Type1 Type3";if="foo"')
server.add("/path", link, links="ct=40")
server.add("/path/sub1", link)
server.add("/path/sub2", link)
server.add("/control", post=control)
server.add("/count", count, count, delete=count)
server.add("/sink", sink, put=sink, blocks=True)
server.add("/fresh", link, count, fresh=True)
server.add("/heap", heap)
server.add("/broken", broken)
asyncio.run(server.run())
