"""A device that takes commands: the real engine, state files and beats; its outbox and link keep what is sent, and its
clock is told the time."""

import asyncio

import cbor
import check
from fake_device import Signed
from gate import LinkError, commands
from gate.commands.application_opcodes import Opcode
from gate.commands.queue import Commands
from gate.reporting.alarms import Alarms
from gate.supervisor import Beat
from gate.trust import store as trust_store

_OPERATE, _DANGEROUS = 2, 3


class Outbox:
    """Keeps what is sent."""

    def __init__(self):
        self.sent = []  # (topic, message)

    def add(self, topic, payload, keep=True):
        self.sent.append((topic, cbor.loads(payload, 4096)))

    def save(self):
        pass

    def alarms(self):
        """(kind, reason) of each."""
        return [(message[1], message[2]) for topic, message in self.sent if topic == "alarm"]

    def reasons(self):
        return [message[2] for topic, message in self.sent if topic == "alarm"]

    def results(self):
        """The last message of each answer."""
        return [message for topic, message in self.sent if topic == "result" and message[2] != 3]

    def text(self):
        """What was sent in parts, joined; fails if they are not in order."""
        text = ""
        parts = [message for topic, message in self.sent if topic == "result" and message[2] == 3]
        for number, message in enumerate(parts):
            if message[5] != [number, True]:
                raise AssertionError("part %d says it is %r" % (number, message[5]))
            text += message[6]
        return text


class Link:
    """Puts into the outbox what is published, unless it is told to be away for so many times."""

    sessions = 1
    connected = True

    def __init__(self, outbox):
        self._outbox = outbox
        self.away = 0

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        if self.away:
            self.away -= 1
            raise LinkError("away")
        self._outbox.add(topic, bytes(payload))


class Uptime:
    """Far apart, so that no alarm is held back and nothing counts as being at once; `step` 0: it stands still."""

    def __init__(self):
        self.now = 0
        self.step = 1000

    def seconds(self):
        self.now += self.step
        return self.now


class Boot:
    reset_cause = "power-on"


class Telemetry:
    @staticmethod
    def counts():
        return {}


class Device:
    """What the engine and simple opcodes ask of gate.agent.Agent."""

    def __init__(self, state, device, nonce, dangerous=False, clock=None):
        """clock: seconds since 1970, or None: there is none."""
        self.clock = clock
        self.device = device
        self.state = state
        self.boot = Boot()
        self.outbox = Outbox()
        self.link = Link(self.outbox)
        self.uptime = Uptime()
        self.telemetry = Telemetry()
        self.alarms = Alarms(self.outbox, self.uptime)
        self.reboots = 0
        self.given_up = []
        self.beat = Beat("commands", 180)
        self.commands = Commands(
            self, device, state, self.link, self.outbox, self.alarms, self.uptime, nonce, dangerous
        )
        self.commands.now = self.now
        self.commands.give_up = self.give_up
        self.commands.answer_interrupted(self.boot.reset_cause)

    def now(self):
        return self.clock

    def reboot(self):
        self.reboots += 1

    def give_up(self, reason, task):
        self.given_up.append((reason, task))

    def handle(self, data):
        """Has one command carried out, without anything else going on."""
        asyncio.run(self.commands.handle(data, self.beat))

    def handle_at_once(self, data):
        """As handle, for commands that wait for nothing: no event loop."""
        going = self.commands.handle(data, self.beat)
        try:
            going.send(None)
        except StopIteration:
            return
        raise AssertionError("it waits for something")

    def drain(self):
        """The task runs until the queue is empty."""

        async def main():
            task = asyncio.create_task(self.commands.run(self.beat))
            while self.commands._queue:
                await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0)
            task.cancel()

        asyncio.run(main())


class offering:
    """A context manager: these opcodes are the application's, {name: the fields of an Opcode}."""

    def __init__(self, entries):
        self._entries = entries

    def __enter__(self):
        self._before = dict(commands.offered)
        commands.offered.clear()
        commands.offered.update({name: Opcode(*entry) for name, entry in self._entries.items()})

    def __exit__(self, kind, error, trace):
        commands.offered.clear()
        commands.offered.update(self._before)


def broken(call):
    raise ValueError("no such thing")


def set_valve(call, percent):
    return {"percent": percent}


OFFERED = {
    "broken": (broken, _OPERATE, 10, False, {}),
    "explode": (broken, _DANGEROUS, 10, False, {}),
    "valve.set": (set_valve, _OPERATE, 10, False, {"percent": (int, 0, 100)}),
}


def device(state, **more):
    """The Device the vectors are for."""
    setup = next(check.vectors("wire_commands"))  # it is the first
    store = trust_store.parse(bytes.fromhex(setup["trust"]))
    return Device(state, Signed(setup["device"], store), bytes.fromhex(setup["nonce"]), **more)


def entries():
    for entry in check.vectors("wire_commands"):
        if entry["kind"] == "command":
            yield entry


def data(name):
    return next(bytes.fromhex(entry["data"]) for entry in entries() if entry["name"] == name)
