"""What changes while the first birth is on its way is said in another one."""

import asyncio

from check import equal
from gate.link.mqtt import Link
from gate.supervisor import Supervisor
from gate.tasks import Tasks


class Config:
    device = "gate-1"
    mqtt_host = "127.0.0.1"
    mqtt_port = 1
    user = password = "x"
    mqtt_tls = False


class Board:
    link = None
    random = None


class Broker:
    """In place of the client: connected, and it answers a birth when it is let."""

    connected = True

    def __init__(self):
        self.births = []
        self.answers = asyncio.Event()

    async def publish(self, topic, payload, qos, retain, timeout_s):
        if topic.endswith("birth"):
            self.births.append(payload)
            await self.answers.wait()


async def births():
    link, trust = Link(Config, Board), [2]
    link.client = broker = Broker()
    link.introduce(lambda: b"trust %d" % trust[0], lambda: b"on")
    tasks = Tasks(Supervisor(None, None), None)
    link.joined.set()
    tasks.work("announce", link.announce, 60, link.joined)
    while not broker.births:
        await asyncio.sleep(0)
    trust[0] = 3
    link.refresh()
    broker.answers.set()
    for _ in range(20):
        await asyncio.sleep(0)
    equal(tasks.live, [], "tasks")
    return broker.births


def test_a_change_during_the_first_birth_is_said():
    equal(asyncio.run(births()), [b"trust 2", b"trust 3"])
