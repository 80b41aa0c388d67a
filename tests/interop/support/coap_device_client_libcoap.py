# ruff: noqa: UP031 - runs on MicroPython
"""ETSI's plugtest cases, the client's side, with what coap-server of libcoap offers instead of ETSI's resources.

micropython coap_device_client_libcoap.py CASE HOST PORT DIRECT_PORT [ACK_TIMEOUT_S]
"""

import sys

sys.path.insert(0, __file__.rsplit("/", 4)[0] + "/firmware/lib")

import asyncio

from coap import client as coap_client

CASE, HOST, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
LARGE = b"".join(b"%03d a line of a large body\n" % n for n in range(60))
HASTE = float(sys.argv[5]) if len(sys.argv) > 5 else 2
OWN = "/own/" + CASE  # made by the first PUT


def client(block=512, **more):
    return coap_client.Client(HOST, PORT, block, ack_timeout_s=HASTE, **more)


def equal(got, wanted):
    if got != wanted:
        raise ValueError("%r is not %r" % (got, wanted))


async def one(method, path, code, **more):
    async with client(token_size=more.pop("token_size", 4)) as c:
        equal((await c.request(method, path, **more)).code, code)


async def made(path=OWN, body=b"something"):
    """Makes a resource, with a client of its own that the relay does not see."""
    async with coap_client.Client(HOST, int(sys.argv[4])) as c:
        await c.put(path, body)


async def core_01():
    await one(1, "/", 205)


async def core_02():
    await made()
    await one(4, OWN, 202)


async def core_03():
    await made()
    await one(3, OWN, 204, payload=b"more", format=0)


async def core_05():
    await one(1, "/", 205, confirmable=False)


async def core_06():
    await made()
    await one(4, OWN, 202, confirmable=False)


async def core_07():
    await made()
    await one(3, OWN, 204, payload=b"more", format=0, confirmable=False)


async def core_09():
    await one(1, "/async", 205, query="1")


async def core_10():
    await one(1, "/", 205, token_size=8)


async def core_11():
    await one(1, "/async", 205, query="1", token_size=8)


async def core_12():
    await one(1, "/", 205, token_size=0)


async def core_13():
    await made("/seg1/seg2/seg3")
    await one(1, "/seg1/seg2/seg3", 205)


async def core_14():
    await made("/query")
    await one(1, "/query", 205, query="first=1&second=2&third=3")


core_15 = core_01
core_16 = core_09


async def core_17():
    await one(1, "/async", 205, query="1", confirmable=False)


async def core_31():
    async with client() as c:
        await c.ping()


async def get_large(block):
    await made(body=LARGE)
    got = bytearray()
    async with client(block) as c:
        equal((await c.get(OWN, sink=got.extend)).size, len(LARGE))
    equal(bytes(got), LARGE)


async def block_01():
    await get_large(512)


async def block_02():
    await get_large(1024)


async def block_06():
    await get_large(16)


async def block_03():
    async with client() as c:
        equal((await c.put(OWN, LARGE)).code, 201)
        equal((await c.get(OWN)).payload, LARGE)


async def block_04():
    await made()
    async with client() as c:
        equal((await c.post(OWN, LARGE)).code, 204)
        equal((await c.get(OWN)).payload, LARGE)


async def obs_01():
    async with client() as c:
        watch = await c.observe("/time", query="ticks")
        last = int((await watch.next()).payload)
        for _ in range(3):
            now = last
            while now == last:  # a server that is late by a second may tell one twice
                now = int((await watch.next()).payload)
            equal(now > last, True)
            last = now
        await watch.cancel()


obs_02 = obs_11 = obs_01


async def obs_06():
    async with client() as c:
        watch = await c.observe("/time", query="ticks")
        await watch.next()
        watch.close()
        await asyncio.sleep(3)


async def obs_07():
    await made()
    async with client() as c, client() as other:
        watch = await c.observe(OWN)
        await watch.next()
        await other.delete(OWN)
        try:
            await watch.next()
        except coap_client.CoapError as error:
            equal(error.code, 404)
        else:
            raise ValueError("still there")


async def obs_09():
    await made()
    async with client() as c, client() as other:
        watch = await c.observe(OWN)
        equal((await watch.next()).payload, b"something")
        for n in range(3):
            await other.put(OWN, b"new %d" % n)
            equal((await watch.next()).payload, b"new %d" % n)
        await watch.cancel()


async def obs_10():
    async with client() as c:
        watch = await c.observe("/time", query="ticks")
        for _ in range(3):
            await watch.next()
            equal((await c.get("/time")).code, 205)
        equal((await watch.next()).code, 205)
        await watch.cancel()


async def obs_12():
    async with client() as c:
        watch = await c.observe("/time", query="ticks")
        await watch.next()
        await watch.cancel()
        await asyncio.sleep(2)


async def observe_large(sizes):
    await made(body=LARGE)
    async with client() as c, client() as other:
        watch = await c.observe(OWN)
        equal((await watch.next()).payload, LARGE)
        for n, size in enumerate(sizes):
            body = (b"%d " % n) * (size // 2)
            await other.put(OWN, body)
            equal((await watch.next()).payload, body)
        await watch.cancel()


async def obs_13():
    await observe_large((1600, 1600, 1600))


async def obs_14():
    await observe_large((1600, 20, 1100))


asyncio.run(asyncio.wait_for(globals()[CASE](), 60))
print("done")
