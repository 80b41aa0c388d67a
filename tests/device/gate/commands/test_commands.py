"""What one device makes of commands in any order (tests/vectors/wire_commands.json): used up once, kept before acting,
told after a reset, held against a clock; and those who send what is none."""

import asyncio

import scratch
from beats import Beat
from check import Random, equal, true
from gate import commands
from gate.commands import queue
from gate.commands.application_opcodes import OPERATE
from gate.files import SmallFiles
from sim_commands import OFFERED, data, device, offering


def test_what_was_refused_stays_refused():
    # The board is told to allow it, or its clock is put right: what its sender holds for refused is not carried out.
    folder = scratch.folder()
    taken = device(SmallFiles(folder))
    with offering(OFFERED):
        taken.handle_at_once(data("dangerous"))
        equal(taken.outbox.reasons(), ["dangerous"])
        taken = device(SmallFiles(folder), dangerous=True)
        taken.handle_at_once(data("dangerous"))
    equal(taken.outbox.reasons(), ["replay"])
    equal(taken.outbox.results(), [])


def test_dangerous_where_the_board_allows_it():
    taken = device(SmallFiles(scratch.folder()), dangerous=True)
    with offering(OFFERED):
        taken.handle_at_once(data("dangerous"))
    equal([message[4] for message in taken.outbox.results()], ["ValueError: no such thing"])


def test_counter_survives_a_reset_and_is_kept_before_acting():
    folder = scratch.folder()
    taken = device(SmallFiles(folder))
    kept = []

    def look(call, percent):
        kept.append(SmallFiles(folder).load(queue.COUNTERS))

    with offering({"valve.set": (look, OPERATE, 10, False, {"percent": (int, 0, 100)})}):
        taken.handle_at_once(data("argument"))
        equal(kept[0].pop(0)[1], "valve.set")
        equal(list(kept[0].values()), [28])
        again = device(SmallFiles(folder))
        equal(again.outbox.sent, [])
        again.handle_at_once(data("argument"))
    equal(again.outbox.reasons(), ["replay"])
    equal(len(kept), 1)


class PowerCut(BaseException):
    pass


def cut_after(store):
    def stored(name, value):
        store(name, value)
        raise PowerCut

    return stored


def test_a_cut_between_counter_and_action_and_in_the_action():
    def cut(call, percent):
        raise PowerCut

    for place in (0, 1):
        folder = scratch.folder()
        state = SmallFiles(folder)
        taken = device(state)
        if not place:
            state.store = cut_after(state.store)
        try:
            with offering({"valve.set": (cut, OPERATE, 10, False, {"percent": (int, 0, 100)})}):
                taken.handle_at_once(data("argument"))
            raise AssertionError("nothing was cut")
        except PowerCut:
            pass
        equal(taken.outbox.sent, [])
        # After the reset it says so, once, and takes the command no more.
        taken = device(SmallFiles(folder))
        equal([(message[2], message[1][-1]) for message in taken.outbox.results()], [(commands.FAILED, 28)])
        true("reset (power-on)" in taken.outbox.results()[0][4])
        taken.outbox.sent = []
        with offering(OFFERED):
            taken.handle_at_once(data("argument"))
        equal(taken.outbox.reasons(), ["replay"])
        equal(device(SmallFiles(folder)).outbox.sent, [])


def test_a_reset_on_purpose_is_not_an_interruption():
    folder = scratch.folder()
    taken = device(SmallFiles(folder))
    seen = []

    def reset(call, percent):
        call.after(lambda: seen.append(SmallFiles(folder).load(queue.COUNTERS)))

    with offering({"valve.set": (reset, OPERATE, 10, False, {"percent": (int, 0, 100)})}):
        taken.handle_at_once(data("argument"))
    equal([message[2] for message in taken.outbox.results()], [commands.DONE])
    true(0 not in seen[0])
    equal(device(SmallFiles(folder)).outbox.sent, [])


def test_damaged_counters_are_as_good_as_they_are():
    for value in ([], {b"kid": "high", 0: 7}, {0: [b"x"]}, {1: 1}):
        state = SmallFiles(scratch.folder())
        state.store(queue.COUNTERS, value)
        taken = device(state)
        equal(taken.outbox.sent, [])
        taken.handle_at_once(data("ping"))
        equal([message[2] for message in taken.outbox.results()], [commands.DONE])


def test_counter_that_cannot_be_kept_stops_the_command():
    class Full(SmallFiles):
        def store(self, name, value):
            raise OSError(28)

    ran = []
    taken = device(Full(scratch.folder()))
    with offering({"valve.set": (lambda call, percent: ran.append(1), OPERATE, 10, False, {})}):
        taken.handle_at_once(data("argument"))
    equal([message[2] for message in taken.outbox.results()], [commands.REFUSED])
    equal(taken.outbox.reasons(), ["storage"])
    equal(ran, [])


def test_reordered_commands():
    taken = device(SmallFiles(scratch.folder()))
    for name in ("ping-again", "ping"):
        taken.handle_at_once(data(name))
    equal(taken.outbox.reasons(), ["replay"])
    equal([message[1][-1] for message in taken.outbox.results()], [26])


def test_a_trusted_clock():
    # Without a nonce it is good from when it was signed, or a little before, until it expires; with one of this boot,
    # too; with that of another boot never.
    issued = 1_790_000_000
    for name, clock, reason in (
        ("diagnose-key-no-nonce", issued, None),
        ("diagnose-key-no-nonce", issued - 120, None),
        ("diagnose-key-no-nonce", issued - 121, "time"),
        ("diagnose-key-no-nonce", issued + 599, None),
        ("diagnose-key-no-nonce", issued + 600, "expired"),
        ("ping", issued + 599, None),
        ("ping", issued + 600, "expired"),
        ("nonce", issued, "nonce"),
    ):
        taken = device(SmallFiles(scratch.folder()), clock=clock)
        taken.handle_at_once(data(name))
        equal(taken.outbox.reasons(), [reason] if reason else [], name)
        wanted = commands.REFUSED if reason else commands.DONE
        equal([message[2] for message in taken.outbox.results()], [wanted], name)
        taken.clock = issued + 1  # whatever becomes of the clock
        taken.outbox.sent = []
        taken.handle_at_once(data(name))
        equal(taken.outbox.reasons(), ["replay"], name)


def test_only_a_command_key_tells_the_time():
    # It is kept, and certificates are held against it: a diagnose key could put the board offline for good.
    told = []
    taken = device(SmallFiles(scratch.folder()))
    taken.commands.signed_at = told.append
    taken.handle_at_once(data("diagnose-key"))
    equal(told, [])
    taken.handle_at_once(data("ping"))
    equal(told, [1_790_000_000])


def test_too_many_at_once():
    taken = device(SmallFiles(scratch.folder()))
    for _ in range(6):
        taken.commands.push(b"")
    equal(taken.outbox.reasons(), ["busy", "busy"])
    taken.commands.push(bytes(1025))
    equal(taken.outbox.reasons()[2:], ["too-large"])


def drain(taken):
    """Everything that waits is judged; returns the seconds of the pauses."""
    taken.beat = Beat()

    async def main():
        task = asyncio.create_task(taken.commands.run(taken.beat))
        for _ in range(200):
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    return sum(taken.beat.waited)


def test_forgers_are_made_to_wait_and_nobody_else():
    taken = device(SmallFiles(scratch.folder()))
    taken.uptime.step = 0
    verified = []
    taken.device.feed = lambda: verified.append(1)
    forged = data("forged")
    for _ in range(8):
        equal(taken.commands.intake.flood, None)
        taken.commands.push(forged)
        drain(taken)
    equal(len(verified), 8)
    equal(taken.outbox.reasons(), ["signature"] * 5 + ["strangers"])  # three are held back
    true(taken.commands.intake.flood is not None)
    # Each that looks genuine is verified, and costs a pause; the same once more is not looked at.
    del verified[:]
    for number in range(4):
        changed = bytearray(forged)
        changed[-9 - number] ^= 0x40
        for _ in range(3):
            taken.commands.push(memoryview(changed))
        true(drain(taken) > 0, "the pauses")
    true(len(verified) <= 4, "verified %d" % len(verified))
    # Good ones wait for nobody.
    taken.commands.push(data("ping"))
    equal(drain(taken), 0)
    equal([message[2] for message in taken.outbox.results()], [commands.DONE])


def test_junk_in_a_flood_costs_no_signature():
    taken = device(SmallFiles(scratch.folder()))
    taken.uptime.step = 0
    for _ in range(8):
        taken.commands.push(data("forged"))
        drain(taken)
    verified = []
    taken.device.feed = lambda: verified.append(1)
    chance = Random(3)
    good = data("ping")
    for number in range(300):
        for junk in (
            b"",
            chance.data(chance.below(200)),
            good[:2] + chance.data(150),
            bytes(1025),
            good[:-1] + bytes(1000),
        ):
            taken.commands.push(junk)
        if number == 150:
            taken.commands.push(good)
    drain(taken)
    equal(len(verified), 1)
    equal([message[2] for message in taken.outbox.results()], [commands.DONE])
    true(len(taken.outbox.reasons()) <= 7, taken.outbox.reasons())
    # A minute without ends it.
    taken.uptime.now += 60
    taken.commands.intake.poll()
    true(taken.commands.intake.flood is not None, "one alarm counts what was dropped")
    taken.uptime.now += 60
    taken.commands.intake.poll()
    equal(taken.commands.intake.flood, None)


def test_a_genuine_command_among_forged_ones_has_its_turn():
    for name in ("forged",):
        taken = device(SmallFiles(scratch.folder()))
        taken.uptime.step = 0
        for _ in range(8):
            taken.commands.push(data(name))
            drain(taken)
        chance = Random(11)
        at = data(name).find(b"\x07\x48") + 2
        for number in range(200):
            changed = bytearray(data(name))
            changed[at] = number & 127  # another counter each, far and near
            changed[-1 - chance.below(60)] ^= 1
            taken.commands.push(changed)
            if number == 100:
                taken.commands.push(data("ping"))
        drain(taken)
        equal([message[2] for message in taken.outbox.results()], [commands.DONE])


def test_forgers_now_and_then_stop_nobody():
    taken = device(SmallFiles(scratch.folder()))  # its uptime leaps from one command to the next
    for _ in range(12):
        taken.handle_at_once(data("forged"))
    equal(taken.commands.intake.flood, None)
