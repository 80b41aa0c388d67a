"""Connections: what is remembered of names, and what a failed attempt leaves behind."""

import asyncio
import gc

import aiotcp
from check import equal, true
from mqtt_control import HOST, run, settings

SERVICES = "peers.nasty_mqtt"
GROUNDS = ("cpython", "unix", "cortex-m3")

PORT = int(settings.get("control", 0))


class Names:
    """Stands for the module `socket`: looks up a name of its own, and counts."""

    def __init__(self, real):
        self.real = real
        self.SOCK_STREAM = real.SOCK_STREAM
        self.socket = real.socket
        self.asked = 0
        self.hosts = [HOST]

    def getaddrinfo(self, host, port, family, kind):
        self.asked += 1
        if not self.hosts:
            raise OSError(-2)
        found = []
        for number in self.hosts:
            found += self.real.getaddrinfo(number, port, family, kind)[:1]
        return found


async def attempt(port):
    """Whether a connection to the name can be made."""
    try:
        stream = await aiotcp.connect("broker.test", port, 2000)
    except (OSError, asyncio.TimeoutError):
        return False
    await stream.close()
    return True


def with_names(check):
    names = aiotcp.socket = Names(aiotcp.socket)
    try:
        run(check(names))
    finally:
        aiotcp.socket = names.real
        aiotcp._addresses.clear()


def test_a_name_is_looked_up_once():
    async def check(names):
        for _ in range(5):
            true(await attempt(PORT), "a connection")
        equal(names.asked, 1, "look-ups")

    with_names(check)


def test_a_name_that_fails_is_looked_up_again():
    async def check(names):
        for _ in range(3):
            true(not await attempt(1), "nobody listens there")
        equal(names.asked, 1, "look-ups")
        true(not await attempt(1), "nor now")
        equal(names.asked, 2, "look-ups after three failures")

    with_names(check)


def test_a_name_server_that_is_away_costs_nothing_that_was_there():
    async def check(names):
        true(await attempt(PORT), "a connection")
        names.hosts = []
        aiotcp._addresses["broker.test", PORT][0] = 99  # as after many failures
        true(await attempt(PORT), "a connection by the old address")
        true(await attempt(PORT), "and another")
        equal(names.asked, 2, "look-ups")
        true(not await attempt(PORT + 1), "a name never heard of")

    with_names(check)


def test_failed_attempts_leave_nothing_behind():
    async def check(names):
        levels = []
        for _ in range(3):
            for _ in range(12):  # more than a board has sockets
                await attempt(1)
            gc.collect()
            levels.append(gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0)
        true(await attempt(PORT), "sockets are left")
        true(levels[2] - levels[1] <= 256, "heap: %r" % levels)

    with_names(check)
