"""ETSI's plugtest cases, the client's side, with aiocoap: each a coroutine of (port through the relay, port itself)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from aiocoap import DELETE, GET, POST, PUT, Context, Message
from aiocoap.numbers.constants import TransportTuning
from patience import limit

LARGE = b"".join(b"%03d a line of a large body\n" % n for n in range(60))
WAIT_S = limit(10)


# Seconds to the first repetition, RFC 7252's unless a lossy case sets less.
haste: ContextVar[float] = ContextVar("haste", default=2.0)


class Reliable(TransportTuning):
    def __init__(self) -> None:
        self.ACK_TIMEOUT = haste.get()


class Unreliable(Reliable):
    reliability = False


class Client:
    def __init__(self, context: Context, port: int):
        self.context = context
        self.base = f"coap://127.0.0.1:{port}"

    async def ask(self, code: Any, path: str, payload: bytes = b"", wanted: str = "", **options: Any) -> Message:
        """The answer to a request, whose code must be the wanted one."""
        tuning = Unreliable() if options.pop("non", False) else Reliable()
        exponent = options.pop("exponent", None)
        message = Message(code=code, uri=self.base + path, payload=payload, transport_tuning=tuning, **options)
        if exponent is not None:
            message.remote.maximum_block_size_exp = exponent
        answer = await asyncio.wait_for(self.context.request(message).response, WAIT_S)
        assert not wanted or answer.code.dotted == wanted, f"{path}: {answer.code}"
        return answer

    async def watch(self, path: str, **options: Any) -> Watch:
        message = Message(code=GET, uri=self.base + path, observe=0, transport_tuning=Reliable(), **options)
        watch = Watch(self.context.request(message))
        first = await asyncio.wait_for(watch.request.response, WAIT_S)
        assert first.code.dotted == "2.05" and first.opt.observe is not None
        watch.first = first
        return watch


class Watch:
    """An observation; next() waits for a notification."""

    def __init__(self, request: Any):
        self.request = request
        self.first: Message = Message()
        self._notes = request.observation.__aiter__()

    async def next(self) -> Message:
        return await asyncio.wait_for(self._notes.__anext__(), WAIT_S)

    def cancel(self) -> None:
        self.request.observation.cancel()


@contextlib.asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    context = await Context.create_client_context(transports=["udp6"])
    try:
        yield Client(context, port)
    finally:
        await context.shutdown()


def number(message: Message) -> int:
    """The number that an observed body repeats."""
    [word] = set(message.payload.split())
    return int(word)


Case = Callable[[int, int], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def simple(name: str, code: Any, wanted: str, non: bool = False) -> None:
    async def run(port: int, _: int) -> None:
        async with client(port) as c:
            payload = b"something" if code in (PUT, POST) else b""
            await c.ask(code, "/test", payload, wanted, non=non)

    CASES[name] = run


for at, (code, wanted) in enumerate(((GET, "2.05"), (DELETE, "2.02"), (PUT, "2.04"), (POST, "2.01")), 1):
    simple(f"core_{at:02}", code, wanted)
    simple(f"core_{at + 4:02}", code, wanted, non=True)


def get(name: str, path: str, payload: bytes | None = None, non: bool = False, exponent: int | None = None) -> None:
    async def run(port: int, _: int) -> None:
        async with client(port) as c:
            answer = await c.ask(GET, path, wanted="2.05", non=non, exponent=exponent)
            assert payload is None or answer.payload == payload

    CASES[name] = run


get("core_09", "/separate", b"it took a while")
get("core_10", "/test")
get("core_11", "/separate", b"it took a while")
get("core_13", "/seg1/seg2/seg3")
get("core_14", "/query?first=1&second=2&third=3", b"first=1&second=2&third=3")
get("core_15", "/test")
get("core_16", "/separate", b"it took a while")
get("core_17", "/separate", b"it took a while", non=True)
get("block_02", "/large", LARGE)


def early(name: str, exponent: int) -> None:
    async def run(port: int, _: int) -> None:
        async with client(port) as c:
            answer = await c.ask(GET, "/large", wanted="2.05", block2=(0, False, exponent))
            assert answer.payload == LARGE

    CASES[name] = run


early("block_01", 5)
early("block_06", 0)


@case
async def core_18(port: int, _: int) -> None:
    async with client(port) as c:
        answer = await c.ask(POST, "/test", b"new", "2.01")
        assert answer.opt.location_path == ("location1", "location2", "location3")


@case
async def core_19(port: int, _: int) -> None:
    async with client(port) as c:
        answer = await c.ask(POST, "/location-query", b"new", "2.01")
        assert answer.opt.location_query == ("first=1", "second=2")


@case
async def core_20(port: int, _: int) -> None:
    async with client(port) as c:
        assert (await c.ask(GET, "/multi-format", wanted="2.05", accept=0)).opt.content_format == 0
        assert (await c.ask(GET, "/multi-format", wanted="2.05", accept=41)).opt.content_format == 41
        await c.ask(GET, "/multi-format", wanted="4.06", accept=60)


@case
async def core_21(port: int, _: int) -> None:
    async with client(port) as c:
        first = await c.ask(GET, "/validate", wanted="2.05")
        again = await c.ask(GET, "/validate", wanted="2.03", etags=(first.opt.etag,))
        assert again.opt.etag == first.opt.etag and not again.payload
        await c.ask(PUT, "/validate", first.payload + b"+", "2.04")
        changed = await c.ask(GET, "/validate", wanted="2.05", etags=(first.opt.etag,))
        assert changed.opt.etag != first.opt.etag


@case
async def core_22(port: int, _: int) -> None:
    async with client(port) as c:
        first = await c.ask(GET, "/validate", wanted="2.05")
        await c.ask(PUT, "/validate", first.payload + b"*", "2.04", if_match=[first.opt.etag])
        await c.ask(PUT, "/validate", b"too late", "4.12", if_match=[first.opt.etag])


@case
async def core_23(port: int, _: int) -> None:
    async with client(port) as c:
        await c.ask(DELETE, "/create1", wanted="2.02")
        await c.ask(PUT, "/create1", b"new", "2.01", if_none_match=True)
        await c.ask(PUT, "/create1", b"newer", "4.12", if_none_match=True)


@case
async def core_31(port: int, _: int) -> None:
    """aiocoap has no ping of its own; an empty confirmable message is written here."""
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    class Pinger(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            answer.set_result(data)

    transport, _protocol = await loop.create_datagram_endpoint(Pinger, remote_addr=("127.0.0.1", port))
    transport.sendto(b"\x40\x00\x00\x07")
    assert await asyncio.wait_for(answer, WAIT_S) == b"\x70\x00\x00\x07"
    transport.close()


@case
async def block_03(port: int, _: int) -> None:
    async with client(port) as c:
        await c.ask(PUT, "/large-update", LARGE, "2.04", exponent=5)
        assert (await c.ask(GET, "/large-update")).payload == LARGE


@case
async def block_04(port: int, _: int) -> None:
    async with client(port) as c:
        answer = await c.ask(POST, "/large-create", LARGE, "2.01")
        assert answer.opt.location_path == ("large-create", "1")


@case
async def block_05(port: int, _: int) -> None:
    async with client(port) as c:
        assert (await c.ask(POST, "/large-post", LARGE, "2.04")).payload == LARGE.upper()


def link(name: str, query: str, *wanted: str) -> None:
    async def run(port: int, _: int) -> None:
        async with client(port) as c:
            answer = await c.ask(GET, f"/.well-known/core{query}", wanted="2.05")
            assert answer.opt.content_format == 40
            found = {entry.split(">")[0][1:] for entry in answer.payload.decode().split(",")}
            assert found == set(wanted) if query else found >= set(wanted)

    CASES[name] = run


link("link_01", "", "/test", "/large", "/obs", "/link1")
link("link_02", "?rt=Type1", "/link1", "/link3")
link("link_03", "?rt=*", "/link1", "/link2", "/link3", "/obs", "/obs-non", "/obs-large", "/obs-pumping")
link("link_04", "?rt=Type2", "/link1", "/link2")
link("link_05", "?if=If*", "/link1", "/link2")
link("link_06", "?sz=*", "/large")
link("link_07", "?href=/link1", "/link1")
link("link_08", "?href=/link*", "/link1", "/link2", "/link3")
link("link_09", "?href=/path*", "/path", "/path/sub1", "/path/sub2")


@contextlib.asynccontextmanager
async def observing(path: str, port: int, direct: int) -> AsyncIterator[tuple[Client, Client, Watch]]:
    """(the client that observes, another one past the relay, the observation)"""
    async with client(port) as c, client(direct) as other:
        await other.ask(POST, "/control", b"again " + path.encode(), "2.04")
        watch = await c.watch(path)
        yield c, other, watch
        watch.cancel()
        # aiocoap takes one more notification to notice, and answers the next with a reset.
        await until_observers(other, 0, b"tick " + path.encode())


async def until_observers(c: Client, wanted: int, act: bytes = b"") -> None:
    while int((await c.ask(POST, "/control", b"observers", "2.05")).payload) != wanted:
        if act:
            await c.ask(POST, "/control", act, "2.04")
        await asyncio.sleep(0.1)


async def three(path: str, other: Client, watch: Watch) -> None:
    first = number(watch.first)
    for step in range(1, 4):
        await other.ask(POST, "/control", b"tick " + path.encode(), "2.04")
        assert number(await watch.next()) == first + step


def observed(name: str, path: str) -> None:
    async def run(port: int, direct: int) -> None:
        async with observing(path, port, direct) as (_, other, watch):
            await three(path, other, watch)

    CASES[name] = run


observed("obs_01", "/obs")
observed("obs_02", "/obs-non")
observed("obs_06", "/obs-non")
observed("obs_11", "/obs")
observed("obs_13", "/obs-large")
observed("obs_14", "/obs-pumping")


@case
async def obs_05(port: int, direct: int) -> None:
    """The relay lets nothing more come from the client once it is registered."""
    async with client(port) as c, client(direct) as other:
        await other.ask(POST, "/control", b"again /obs", "2.04")
        await c.watch("/obs")
        await until_observers(other, 1)
        await other.ask(POST, "/control", b"tick /obs", "2.04")
        await until_observers(other, 0)


async def ended(watch: Watch, code: str) -> None:
    """The observation ends with this answer."""
    try:
        last = await watch.next()
    except StopAsyncIteration:
        return  # aiocoap may tell no more than that; the code is looked at on the wire
    assert last.code.dotted == code


@case
async def obs_07(port: int, direct: int) -> None:
    async with client(port) as c, client(direct) as other:
        watch = await c.watch("/obs")
        await other.ask(DELETE, "/obs", wanted="2.02")
        await ended(watch, "4.04")
        await other.ask(POST, "/control", b"again /obs", "2.04")
        await until_observers(other, 0)


@case
async def obs_08(port: int, direct: int) -> None:
    async with client(port) as c, client(direct) as other:
        watch = await c.watch("/obs")
        await other.ask(POST, "/control", b"format /obs 41", "2.04")
        await ended(watch, "4.06")
        await other.ask(POST, "/control", b"again /obs", "2.04")
        await until_observers(other, 0)


@case
async def obs_09(port: int, direct: int) -> None:
    async with observing("/obs", port, direct) as (c, _, watch):
        await c.ask(PUT, "/obs", b"4711", "2.04")
        assert number(await watch.next()) == 4711


@case
async def obs_10(port: int, direct: int) -> None:
    async with observing("/obs", port, direct) as (c, other, watch):
        await c.ask(GET, "/obs", wanted="2.05")
        await three("/obs", other, watch)


# Beyond ETSI's.


@case
async def together(port: int, _: int) -> None:
    """Several clients at once, a body for each."""

    async def one(n: int) -> None:
        async with client(port) as c:
            for _ in range(5):
                assert (await c.ask(GET, f"/query?n={n}")).payload == b"n=%d" % n
            await c.ask(PUT, "/sink", bytes([n]) * 5000, "2.04")
            assert len((await c.ask(GET, "/streamed", wanted="2.05")).payload) == 100_000

    await asyncio.gather(one(1), one(2))


@case
async def once(port: int, direct: int) -> None:
    """Requests over a bad network are carried out once each."""
    async with client(port) as c, client(direct) as other:
        await other.ask(DELETE, "/count")
        for n in range(20):
            await c.ask(POST, "/count", b"%d" % n, "2.04")
        assert (await other.ask(GET, "/count")).payload == b"20 of 20"


@case
async def echo(port: int, _: int) -> None:
    async with client(port) as c:
        refused = await c.ask(POST, "/fresh", b"x", "4.01")
        await c.ask(POST, "/fresh", b"x", "2.04", echo=refused.opt.echo)
        forged = bytes(len(refused.opt.echo))
        await c.ask(POST, "/fresh", b"x", "4.01", echo=forged)


@case
async def limits(port: int, _: int) -> None:
    async with client(port) as c:
        await c.ask(GET, "/nowhere", wanted="4.04")
        await c.ask(PUT, "/large", b"x", "4.05")
        await c.ask(GET, "/broken", wanted="5.00")
        await c.ask(PUT, "/large-update", bytes(4096), "2.04")
        await c.ask(PUT, "/large-update", bytes(4097), "4.13")
        assert len((await c.ask(GET, "/large-update")).payload) == 4096


@case
async def no_response(port: int, direct: int) -> None:
    """RFC 7967: what is not wanted is not sent, errors are."""
    async with client(port) as c, client(direct) as other:
        await other.ask(DELETE, "/count")
        message = Message(
            code=POST, uri=c.base + "/count", payload=b"silent", no_response=2, transport_tuning=Unreliable()
        )
        request = c.context.request(message)
        while (await other.ask(GET, "/count")).payload != b"1 of 1":
            await asyncio.sleep(0.05)
        assert not request.response.done()
        await c.ask(POST, "/nowhere", b"", "4.04", non=True, no_response=2)
