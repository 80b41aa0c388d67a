"""Commands, good and bad, in the order one device gets them (tests/vectors/wire.json)."""

import cbor
import check
import scratch
from check import equal, true
from signedby import Signed
from tidegate.alarms import Alarms
from tidegate.state import State

from tidegate import commands, trust

GROUNDS = ("cpython", "unix", "cortex-m3")


class Outbox:
    """Keeps what is sent."""

    def __init__(self):
        self.sent = []

    def add(self, topic, payload, keep=True):
        self.sent.append((topic, cbor.loads(payload)))


class Uptime:
    now = 0

    def seconds(self):
        # Far apart, so that no alarm is held back.
        self.now += 1000
        return self.now


def broken(arguments):
    raise ValueError("no such thing")


def device(state, ran):
    """(Commands, Outbox) of the device the vectors are for."""
    setup = next(check.vectors("wire"))  # it is the first
    outbox = Outbox()
    handlers = {"ping": lambda arguments: ran.append("ping") or {"pong": True}, "broken": broken}
    store = trust.parse(bytes.fromhex(setup["trust"]))
    nonce = bytes.fromhex(setup["nonce"])
    alarms = Alarms(outbox, Uptime())
    taken = commands.Commands(Signed(setup["device"], store), nonce, state, outbox, alarms, handlers)
    return taken, outbox


def entries():
    for entry in check.vectors("wire"):
        if entry["kind"] == "command":
            yield entry


def test_every_command():
    ran = []
    taken, outbox = device(State(scratch.folder()), ran)
    for entry in entries():
        outbox.sent = []
        taken.handle(bytes.fromhex(entry["data"]) + bytes(entry.get("pad", 0)))
        results = [message for topic, message in outbox.sent if topic == "result"]
        alarms = [message for topic, message in outbox.sent if topic == "alarm"]
        name = entry["name"]
        cti = bytes.fromhex(entry["cti"])
        equal([(message[1], message[2]) for message in results], wanted_results(entry, cti), name)
        equal([message[2] for message in alarms], [entry["reason"]] if entry["reason"] else [], name)
        for message in alarms:
            equal(message[1], "command-refused", name)
            true(message.get(4) in (cti, None), name)
    equal(ran, ["ping", "ping"])


def wanted_results(entry, cti):
    return [] if entry["result"] is None else [(cti, entry["result"])]


def test_counter_survives_a_reset_and_is_kept_before_acting():
    folder = scratch.folder()
    ran = []
    taken, outbox = device(State(folder), ran)
    ping = next(bytes.fromhex(entry["data"]) for entry in entries() if entry["name"] == "ping")
    kept = []

    def look(arguments):
        kept.append(State(folder).load(commands.COUNTERS))
        return {}

    taken._handlers["ping"] = look
    taken.handle(ping)
    equal(list(kept[0].values()), [10])
    taken, outbox = device(State(folder), ran)
    taken.handle(ping)
    equal([(topic, message[2]) for topic, message in outbox.sent], [("alarm", "replay")])
    equal(ran, [])


def test_counter_that_cannot_be_kept_stops_the_command():
    class Full(State):
        def store(self, name, value):
            raise OSError(28)

    ran = []
    taken, outbox = device(Full(scratch.folder()), ran)
    taken.handle(bytes.fromhex(next(entries())["data"]))
    equal([message[2] for topic, message in outbox.sent if topic == "result"], [2])
    equal(ran, [])


def test_too_many_at_once():
    ran = []
    taken, outbox = device(State(scratch.folder()), ran)
    for _ in range(6):
        taken.push(b"")
    equal([message[2] for topic, message in outbox.sent], ["busy", "busy"])
