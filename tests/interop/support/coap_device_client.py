# ruff: noqa: UP031, SIM105 - runs on MicroPython
"""ETSI's plugtest cases, the client's side, with the device's library.

    micropython coap_device_client.py CASE HOST PORT [ACK_TIMEOUT_S]

Runs one case against a server with ETSI's resources, prints "done"; what goes wrong is an exception. What was on the
wire is looked at by the test, which sees the packets.
"""

import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0] + "/firmware/lib")

import asyncio

from coap import client as coap_client

HOST = sys.argv[2]
PORT = int(sys.argv[3])
HASTE = float(sys.argv[4]) if len(sys.argv) > 4 else 2
LARGE = b"".join(b"%03d a line of a large body\n" % n for n in range(60))


def client(**more):
    return coap_client.Client(HOST, PORT, ack_timeout_s=HASTE, **more)


def equal(got, wanted):
    if got != wanted:
        raise ValueError("%r is not %r" % (got, wanted))


async def refused(code, request):
    """The request is answered with this error."""
    try:
        await request
    except coap_client.CoapError as error:
        equal((error.reason, error.code), ("refused", code))
    else:
        raise ValueError("not refused")


async def simple(method, confirmable, code):
    async with client() as c:
        body = b"something" if method in (2, 3) else None
        answer = await c.request(method, "/test", body, 0 if body else None, confirmable=confirmable)
        equal(answer.code, code)


async def core_01():
    await simple(1, True, 205)


async def core_02():
    await simple(4, True, 202)


async def core_03():
    await simple(3, True, 204)


async def core_04():
    await simple(2, True, 201)


async def core_05():
    await simple(1, False, 205)


async def core_06():
    await simple(4, False, 202)


async def core_07():
    await simple(3, False, 204)


async def core_08():
    await simple(2, False, 201)


async def core_09():
    async with client() as c:
        equal((await c.get("/separate")).payload, b"it took a while")


async def core_10():
    async with client(token_size=8) as c:
        equal((await c.get("/test")).code, 205)


async def core_11():
    async with client(token_size=8) as c:
        equal((await c.get("/separate")).code, 205)


async def core_12():
    async with client(token_size=0) as c:
        equal((await c.get("/test")).code, 205)


async def core_13():
    async with client() as c:
        equal((await c.get("/seg1/seg2/seg3")).code, 205)


async def core_14():
    async with client() as c:
        answer = await c.get("/query", query="first=1&second=2&third=3")
        equal(answer.payload, b"first=1&second=2&third=3")


core_15 = core_01
core_16 = core_09


async def core_17():
    async with client() as c:
        equal((await c.get("/separate", confirmable=False)).payload, b"it took a while")


def location(answer):
    path = b"".join(b"/" + value for number, value in answer.options if number == 8)
    query = b"&".join(value for number, value in answer.options if number == 20)
    return str(path + (b"?" + query if query else b""), "utf-8")


async def core_18():
    async with client() as c:
        answer = await c.post("/test", b"new", format=0)
        equal((answer.code, location(answer)), (201, "/location1/location2/location3"))


async def core_19():
    async with client() as c:
        answer = await c.post("/location-query", b"new", format=0)
        equal((answer.code, location(answer)), (201, "?first=1&second=2"))


async def core_20():
    async with client() as c:
        answer = await c.get("/multi-format", accept=0)
        equal((answer.format or 0, answer.payload), (0, b"value 1"))
        answer = await c.get("/multi-format", accept=41)
        equal((answer.format, answer.payload), (41, b"<value>1</value>"))


async def core_21():
    async with client() as c:
        first = await c.get("/validate")
        equal(first.code, 205)
        again = await c.get("/validate", etag=first.etag)
        equal((again.code, again.etag, again.payload), (203, first.etag, b""))
        await c.put("/validate", first.payload + b", changed", format=0)
        changed = await c.get("/validate", etag=first.etag)
        equal((changed.code, changed.payload), (205, first.payload + b", changed"))


async def core_22():
    async with client() as c:
        first = await c.get("/validate")
        match = ((1, first.etag),)
        equal((await c.put("/validate", first.payload + b"+", options=match)).code, 204)
        await refused(412, c.put("/validate", b"too late", options=match))


async def core_23():
    async with client() as c:
        none = ((5, b""),)
        await c.delete("/create1")
        equal((await c.put("/create1", b"new", options=none)).code, 201)
        await refused(412, c.put("/create1", b"newer", options=none))


async def core_31():
    async with client() as c:
        await c.ping()


async def get_large(block):
    got = bytearray()
    async with client(block=block) as c:
        answer = await c.get("/large", sink=got.extend)
        equal((answer.code, answer.size, bytes(got)), (205, len(LARGE), LARGE))


async def block_01():
    await get_large(512)


async def block_02():
    await get_large(1024)  # says nothing beforehand: the server's size


async def block_06():
    await get_large(16)


class Reader:
    """LARGE, in pieces of the reader's own liking."""

    def __init__(self):
        self.at = 0

    def readinto(self, view):
        piece = LARGE[self.at : self.at + min(100, len(view))]
        view[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


async def block_03():
    async with client() as c:
        equal((await c.put("/large-update", Reader(), size=len(LARGE))).code, 204)
        equal((await c.get("/large-update")).payload, LARGE)


async def block_04():
    async with client() as c:
        answer = await c.post("/large-create", LARGE, format=0)
        equal((answer.code, location(answer)), (201, "/large-create/1"))


async def block_05():
    async with client() as c:
        answer = await c.post("/large-post", LARGE, format=0)
        equal((answer.code, answer.payload), (204, LARGE.upper()))


async def observe(path, act):
    """Registers, and lets act(watch, another client, first number) go on."""
    async with client() as c, client() as other:
        await other.post("/control", b"again " + path.encode())
        watch = await c.observe(path)
        first = await watch.next()
        equal((first.code, watch.active), (205, True))
        await act(watch, other, number(first))
        if watch.active:  # a server that goes on notifying a closed port may trip over the error
            await watch.cancel()


def number(answer):
    """The number that an observed body repeats; all of it must be the same."""
    words = answer.payload.split()
    equal(words, words[:1] * len(words))
    return int(words[0])


async def three(watch, other, first):
    """Three changes, three notifications, in order."""
    for step in range(1, 4):
        await other.post("/control", b"tick " + PATHS[CASE].encode())
        equal(number(await watch.next()), first + step)


async def obs_01():
    await observe("/obs", three)


async def obs_02():
    await observe("/obs-non", three)


async def obs_04():
    async def act(watch, other, first):
        watch.slack_s = 1
        await other.post("/control", b"forget /obs")
        await other.post("/control", b"set /obs")  # a change that nobody is told of
        equal(number(await watch.next()), first + 1)  # asked for after Max-Age, and registered again
        await other.post("/control", b"tick /obs")
        equal(number(await watch.next()), first + 2)

    await observe("/obs", act)


async def obs_05():
    async def act(watch, other, first):
        await other.post("/control", b"tick /obs")
        await asyncio.sleep(0.3)

    await observe("/obs", act)


async def obs_06():
    async def act(watch, other, first):
        watch.close()  # the next notification is rejected
        for _ in range(2):
            await other.post("/control", b"tick /obs")
            await asyncio.sleep(0.3)

    await observe("/obs", act)


async def obs_07():
    async def act(watch, other, first):
        await other.delete("/obs")
        await refused(404, watch.next())

    await observe("/obs", act)


async def obs_08():
    async def act(watch, other, first):
        await other.post("/control", b"format /obs 41")
        await refused(406, watch.next())

    await observe("/obs", act)


async def obs_09():
    async def act(watch, other, first):
        equal((await other.put("/obs", b"4711", format=0)).code, 204)
        equal(number(await watch.next()), 4711)

    await observe("/obs", act)


async def obs_10():
    async def act(watch, other, first):
        equal((await watch._client.get("/obs")).code, 205)
        await three(watch, other, first)

    await observe("/obs", act)


obs_11 = obs_01


async def obs_12():
    async def act(watch, other, first):
        await watch.cancel()
        for _ in range(2):
            await other.post("/control", b"tick /obs")
        await asyncio.sleep(0.3)

    await observe("/obs", act)


async def obs_13():
    await observe("/obs-large", three)


async def obs_14():
    await observe("/obs-pumping", three)


# Beyond ETSI's: what the agent relies on.


async def resume(at, stops, get):
    """A body from byte `at` on, in several goes, each with a new client: every byte once, in order."""
    have = [at]
    for most in stops:

        def sink(view, most=most):
            if have[0] + len(view) > most:
                raise OSError("as if the power was cut")
            for at in range(0, len(view), 17):
                equal(view[at], (have[0] + at) * 7 & 255)
            have[0] += len(view)

        try:
            total = await get(have[0], sink)
        except OSError:
            pass
    equal((total, have[0]), (100_000, 100_000))


async def resumed():
    def get(at, sink):
        return coap_client.fetch(HOST, PORT, "/streamed", at, sink, bytearray(700), 100_000, etag=b"streamed")

    await resume(0, (30_000, 70_000, 100_000), get)


async def resumed_late():
    async def get(at, sink):
        async with client() as c:
            return (await c.get("/streamed", sink, at, 100_000, b"streamed")).size

    await resume(85_000, (90_000, 95_000, 100_000), get)


async def resumed_from_the_beginning():
    """Of a server that gives no block but the first to whom it does not know: what is there is skipped."""
    have = [15_000]

    def sink(view):
        equal(view[0], have[0] * 7 & 255)
        have[0] += len(view)

    async with client() as c:
        answer = await c.get("/streamed-whole", sink, 15_000, 20_000, b"whole")
    equal((answer.size, have[0]), (20_000, 20_000))


async def echo():
    async with client() as c:
        equal((await c.post("/fresh", b"x")).code, 204)


async def once():
    """Twenty requests over a bad network: each is carried out once."""
    async with client() as c:
        await c.delete("/count")
        for n in range(20):
            await c.post("/count", b"%d" % n)
        equal((await c.get("/count")).payload, b"20 of 20")


async def away():
    """After a request without an answer a new socket is used, and what is observed is asked for again."""
    async with client() as c:
        watch = await c.observe("/obs")
        first = number(await watch.next())
        try:
            await c.get("/query")  # of this the relay lets nothing through
        except coap_client.CoapError as error:
            equal(error.reason, "timeout")
        else:
            raise ValueError("an answer")
        await c.post("/control", b"set /obs")  # a change that nobody is told of
        equal(number(await asyncio.wait_for(watch.next(), 8)), first + 1)  # Max-Age would be 11 s
        await watch.cancel()


async def no_response():
    async with client() as c:
        equal(await c.post("/count", b"silent", confirmable=False, no_response=26), None)


async def together():
    """Requests of several tasks, a body among them."""
    async with client() as c:

        async def small(n):
            for _ in range(10):
                equal((await c.get("/query", query="n=%d" % n)).payload, b"n=%d" % n)

        size = [0]

        def sink(view):
            size[0] += len(view)

        await asyncio.gather(small(1), small(2), c.get("/streamed", sink, max_size=100_000), small(3))
        equal(size[0], 100_000)


CASE = sys.argv[1]
PATHS = {"obs_02": "/obs-non", "obs_13": "/obs-large", "obs_14": "/obs-pumping"}
for name in ("obs_01", "obs_10", "obs_11"):
    PATHS[name] = "/obs"
asyncio.run(asyncio.wait_for(globals()[CASE](), 60))
print("done")
