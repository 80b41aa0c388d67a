"""Commands, good and bad, in the order one device gets them (tests/vectors/wire_commands.json). Apart from the other
tests of commands: loaded into the emulated board's RAM beside the engine there is room for no more."""

import scratch
from check import equal, true
from gate import commands
from gate.files import SmallFiles
from sim_commands import OFFERED, device, entries, offering

GROUNDS = ("cpython", "unix", "cortex-m3")


def test_every_command():
    taken = device(SmallFiles(scratch.folder()))
    with offering(OFFERED):
        for entry in entries():
            outbox = taken.outbox
            outbox.sent = []
            message = bytes.fromhex(entry["data"]) + bytes(entry.get("pad", 0))
            if "pad" in entry:
                taken.commands.push(message)
            else:
                taken.handle_at_once(message)
            name = entry["name"]
            cti = bytes.fromhex(entry["cti"])
            results = [(message[1], message[2]) for message in outbox.results()]
            equal(results, [] if entry["result"] is None else [(cti, entry["result"])], name)
            equal(outbox.reasons(), [entry["reason"]] if entry["reason"] else [], name)
            for topic, message in outbox.sent:
                if topic == "alarm":
                    equal(message[1], "command-refused", name)
                    true(message.get(4) in (cti, None), name)
                elif message[2] == commands.REFUSED:
                    true(message[4].startswith(entry["reason"] + ": "), message[4])
    equal(len(taken.commands._queue), 0)
