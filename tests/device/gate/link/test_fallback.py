"""CoAP stands in for MQTT: its modules are in memory only then, and go when nothing works with them any more."""

import asyncio
import sys

from check import equal, true
from gate import LinkError, ondemand
from gate.link import fallback
from gate.link.fallback import EitherLink

GROUNDS = ("cpython", "unix", "cortex-m3")


class Config:
    device = "gate-1"
    mqtt_host = coap_host = "127.0.0.1"
    mqtt_port = coap_port = 1
    user = password = "x"
    coap_key = bytes(32)
    mqtt_tls = False


class Board:
    random = None

    def network_up(self):
        pass

    def link(self):
        return False


def made():
    link = EitherLink(Config, Board())
    link.subscribe({"offer": None})
    link.introduce(lambda: b"birth", lambda: b"state")
    return link


def loaded():
    return [name for name in ("gate.link.coap", "gate.link.coap_mac", "coap.client") if name in sys.modules]


def test_coap_is_in_memory_while_it_stands_in():
    link = made()
    equal(loaded(), [])
    equal(link.facts()["coap"], {"connected": False, "sessions": 0})
    link._begin()
    equal(len(loaded()), 3)
    true(link.second.joined is link.first.joined is link.joined)
    link.second.connected = True
    link.second.sessions = 2
    true(link.connected and link._now() is link.second)
    equal((link.sessions, link.facts()["coap"]), (2, {"connected": True, "sessions": 2}))
    link._end()
    equal(loaded(), [])
    equal((link.connected, link.sessions, link.facts()["coap"]), (False, 2, {"connected": False, "sessions": 2}))
    try:
        link._now()
    except LinkError:
        pass
    else:
        true(False, "nobody answers")


def test_work_under_way_does_not_take_it_and_keeps_what_it_uses():
    link = made()
    with ondemand.modules:
        link._begin()
    equal(len(loaded()), 3)  # it began while there was work, whose end is not its end
    with ondemand.modules:
        link._end()
        equal(len(loaded()), 3)  # the work may be using it
    equal(loaded(), [])


def test_it_makes_room_for_an_update():
    usual, fallback.sleep_ms = fallback.sleep_ms, at_once
    try:
        asyncio.run(making_room(made()))
    finally:
        fallback.sleep_ms = usual
    equal(loaded(), [])


async def making_room(link):
    standing = asyncio.create_task(link._stand_in())
    await until(lambda: len(loaded()) == 3)
    link.make_room()
    await until(lambda: not loaded())
    true(link.second is None)
    await until(lambda: link._room_s == 10)
    equal(loaded(), [])
    await until(lambda: len(loaded()) == 3)  # the broker is still away
    equal(link._room_s, 0)
    link.make_room()
    await until(lambda: not loaded())
    standing.cancel()


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    true(False, "it did not come")


async def at_once(ms):
    await asyncio.sleep(0)


def test_without_memory_it_is_tried_again():
    link = made()
    sys.modules["gate.link.coap"] = Full
    try:
        try:
            link._begin()
        except MemoryError:
            link._end()
        else:
            true(False, "it has no memory")
    finally:
        sys.modules.pop("gate.link.coap", None)
    true(link.second is None)
    link._begin()
    equal(len(loaded()), 3)
    link._end()
    equal(loaded(), [])


class Full:
    """In place of the module."""

    def CoapLink(*arguments):
        raise MemoryError("none")
