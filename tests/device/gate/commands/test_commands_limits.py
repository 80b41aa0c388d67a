"""What a command may take: time, output, memory, one heavy one at a time; how its answer leaves; and opcodes of the
application."""

import asyncio

import check
import scratch
from check import equal, raises, true
from gate import commands
from gate.clock import sleep_ms, ticks_ms
from gate.commands import application_opcodes, executor, verify
from gate.commands.application_opcodes import DANGEROUS, OPERATE, READ, opcode
from gate.commands.application_opcodes import check as check_arguments
from gate.files import SmallFiles
from gate.update.offers import Updater
from sim_commands import device, offering

HEAP = "320k"  # the code is compiled on the heap here; on a board it is in ROM


def given(name="try"):
    """The messages for one opcode, in order."""
    return [bytes.fromhex(entry["data"]) for entry in check.vectors("wire_asked") if entry["opcode"] == name]


def fresh():
    return device(SmallFiles(scratch.folder()))


def ask(function, limit_s=10, taken=None, heavy=False):
    """The device after it carried `function` out."""
    taken = taken or fresh()
    name = "try.heavy" if heavy else "try"
    with offering({name: (function, OPERATE, limit_s, heavy, {})}):
        taken.handle(given(name)[0])
    return taken


def end(taken):
    """(code, why) of the only result."""
    results = taken.outbox.results()
    equal(len(results), 1, "results")
    return results[0][2], results[0].get(4)


def test_answers():
    taken = ask(lambda call: {"text": "x", "list": [1, 2.5, None, True, b"y"]})
    equal(taken.outbox.results()[0][3], {"text": "x", "list": [1, 2.5, None, True, b"y"]})

    async def later(call):
        await call.pause()
        return {"x": 1}

    equal(ask(later).outbox.results()[0][3], {"x": 1})
    equal(sorted(ask(lambda call: None).outbox.results()[0]), [1, 2])
    for bad in ("text", 7, {"x": object()}, {"x": {1, 2}}):
        code, why = end(ask(lambda call, bad=bad: bad))
        equal(code, commands.FAILED)
        true("Error" in why, why)
    code, why = end(ask(lambda call: {"x": "y" * 4000}))
    equal(code, commands.FAILED)
    true(why.startswith("output: its answer has"), why)


def test_a_long_why_is_cut():
    def long(call):
        raise ValueError("ä" * 500)

    code, why = end(ask(long))
    true(len(why.encode()) <= 160)


def test_time():
    async def slow(call):
        await asyncio.sleep(30)

    began = ticks_ms()
    taken = ask(slow, 1)
    equal(end(taken), (commands.FAILED, "time: it took longer than 1 s"))
    true(ticks_ms() - began < 10000)

    async def pauses(call):
        while True:
            await sleep_ms(50)
            await call.pause()

    equal(end(ask(pauses, 1)), (commands.FAILED, "time: it took longer than 1 s"))

    def checks(call):
        while True:
            call.check()

    equal(end(ask(checks, 1)), (commands.FAILED, "time: it took longer than 1 s"))

    def writes(call):
        while True:
            call.write("")

    equal(end(ask(writes, 1)), (commands.FAILED, "time: it took longer than 1 s"))


def test_cancelled_from_within():
    async def cancelled(call):
        raise asyncio.CancelledError

    equal(end(ask(cancelled)), (commands.FAILED, "it was cancelled"))


def test_output_in_parts():
    text = "line ä with characters of two bytes\n" * 90

    def short(call):
        call.write("short")
        return {"lines": 1}

    taken = ask(short)
    equal(taken.outbox.text(), "short")
    equal(taken.outbox.results()[0][5], [1, False])
    equal(taken.outbox.results()[0][3], {"lines": 1})

    def at_the_end(call):
        for at in range(0, len(text), 100):
            call.write(text[at : at + 100])

    async def on_the_way(call):
        for at in range(0, len(text), 100):
            call.write(text[at : at + 100])
            await call.pause()

    for function in (at_the_end, on_the_way):
        taken = ask(function)
        equal(taken.outbox.text(), text)
        parts = [message for topic, message in taken.outbox.sent if message[2] == 3]
        equal(taken.outbox.results()[0][5], [len(parts), False])
        for message in parts:
            true(len(message[6].encode()) <= 1024)
            equal(sorted(message), [1, 2, 5, 6])
            equal(message[1], taken.outbox.results()[0][1])


def test_output_over_its_cap():
    async def endless(call):
        while True:
            call.write("x" * 1000)
            await call.pause()

    taken = ask(endless)
    equal(end(taken), (commands.FAILED, "output: its output is over 16384 bytes"))
    equal(sum(len(message.get(6, "")) for topic, message in taken.outbox.sent), 16000)

    def failing(call):
        call.write("what was found before it failed")
        raise ValueError("then this")

    taken = ask(failing)
    equal(end(taken), (commands.FAILED, "ValueError: then this"))
    equal(taken.outbox.text(), "what was found before it failed")


def test_the_link_goes_away():
    # For a moment while it writes: nothing is lost, or sent twice.
    text = "0123456789" * 300

    async def writes(call):
        for at in range(0, len(text), 10):
            call.write(text[at : at + 10])
            await call.pause()

    taken = fresh()
    taken.link.away = 3
    equal(ask(writes, 30, taken).outbox.text(), text)
    # When a short answer is to be sent: it goes to what is kept.
    taken = fresh()
    taken.link.away = 1
    equal(end(ask(lambda call: {"x": 1}, 10, taken)), (commands.DONE, None))
    # A long one is tried again, and then left out.
    taken = fresh()
    taken.link.away = 2
    equal(len(ask(lambda call: {"x": "y" * 600}, 10, taken).outbox.results()[0][3]["x"]), 600)
    taken = fresh()
    taken.link.away = 3
    code, why = end(ask(lambda call: {"x": "y" * 600}, 10, taken))
    equal(code, commands.DONE)
    true("could not be sent" in why, why)
    # Output that cannot be sent makes it a failed command.
    taken = fresh()
    taken.link.away = 100
    code, why = end(ask(lambda call: call.write("text"), 10, taken))
    equal(code, commands.FAILED)
    true("connection" in why, why)


def test_what_comes_after_the_answer():
    seen = []
    taken = fresh()
    ask(lambda call: call.after(lambda: seen.append(len(taken.outbox.results()))), taken=taken)
    equal(seen, [1])

    def fails():
        raise ValueError("too late")

    equal(end(ask(lambda call: call.after(fails))), (commands.DONE, None))

    def both(call):
        call.after(lambda: seen.append("never"))
        raise ValueError

    ask(both)
    equal(seen, [1])


def test_memory():
    def hungry(call):
        raise MemoryError("memory allocation failed")

    code, why = end(ask(hungry))
    equal(code, commands.FAILED)
    true(why.startswith("memory: "), why)

    class Poor:
        @staticmethod
        def collect():
            pass

        @staticmethod
        def mem_free():
            return 15000

    ran = []
    usual = executor.gc
    executor.gc = Poor
    try:
        equal(end(ask(lambda call: ran.append(1))), (commands.DONE, None))
        taken = ask(lambda call: ran.append(1), heavy=True)
    finally:
        executor.gc = usual
    equal(end(taken), (commands.REFUSED, "memory: 15000 bytes free, 20480 needed"))
    equal(taken.outbox.reasons(), ["memory"])
    equal(ran, [1])


def test_no_memory_to_verify_them():
    """Three in a row, and it starts anew; one that could be verified in between begins the count again."""
    taken = fresh()
    messages = given()

    def poor(*rest):
        raise verify.Refusal("memory", "not enough memory to verify it")

    def hand(count, judge):
        usual = verify.verify
        verify.verify = judge or usual
        try:
            for _ in range(count):
                taken.handle(messages[0])
        finally:
            verify.verify = usual

    with offering({"try": (lambda call: None, OPERATE, 10, False, {})}):
        hand(2, poor)
        hand(1, None)
        hand(2, poor)
        equal(taken.given_up, [])
        hand(1, poor)
    equal(taken.given_up, [("memory", "commands")])


def test_a_module_that_cannot_be_imported():
    def find(name):
        raise ImportError("no module named 'gate.commands.ops.gone'")

    usual = executor.builtin_opcodes.find
    executor.builtin_opcodes.find = find
    try:
        code, why = end(ask(lambda call: None))
    finally:
        executor.builtin_opcodes.find = usual
    equal(code, commands.FAILED)
    true("ImportError" in why, why)


def test_an_answer_that_finds_no_memory_on_its_way_out():
    async def publish(*given):
        raise MemoryError

    taken = fresh()
    taken.link.publish = publish
    code, why = end(ask(lambda call: {"x": "y" * 1000}, taken=taken))
    equal(code, commands.DONE)
    true("could not be sent" in why, why)


def test_one_heavy_thing_at_a_time():
    taken = fresh()
    seen = []

    def heavy(call):
        seen.append(taken.device.heavy)
        raise ValueError

    ask(heavy, 10, taken, True)
    equal(seen, ["try.heavy"])  # an update that comes now waits
    equal(taken.device.heavy, None)
    taken.outbox.sent = []
    taken.device.updating = 1
    with offering({"try.heavy": (heavy, OPERATE, 10, True, {})}):
        taken.handle(given("try.heavy")[1])
    equal(end(taken), (commands.REFUSED, "busy: an update is running; send it again later"))
    equal(len(seen), 1)


def test_an_update_waits_for_a_heavy_command():
    seen = []

    class Beat:
        def __call__(self):
            pass

        async def sleep(self, seconds):
            seen.append("waits")
            if len(seen) == 3:
                device.heavy = None

    class Waits(Updater):
        async def _run(self, data, resumed, beat):
            seen.append((device.heavy, device.updating))
            raise ValueError

    taken = fresh()
    device = taken.device
    device.heavy = "bench"
    updater = Waits(None, None, device, None, None, None)
    try:
        asyncio.run(updater._consider(b"offer", False, Beat()))
    except ValueError:
        pass
    equal(seen, ["waits"] * 3 + [(None, 1)])
    equal(device.updating, 0)


def test_commands_that_were_too_much():
    def fails(call):
        raise ValueError("an ordinary failure")

    def exhausts(call):
        raise MemoryError

    def fine(call):
        ran.append(1)

    taken, ran = fresh(), []
    taken.uptime.step = 0
    messages = given()
    for function in (fails, fails, fails, fails, exhausts, exhausts, fine, exhausts, exhausts, exhausts):
        with offering({"try": (function, OPERATE, 10, False, {})}):
            taken.handle_at_once(messages.pop(0))
    equal(taken.outbox.alarms(), [("commands-paused", "exhausted")])
    equal(ran, [1])
    taken.outbox.sent = []
    with offering({"try": (fine, OPERATE, 10, False, {})}):
        taken.handle_at_once(messages.pop(0))
        code, why = end(taken)
        equal(code, commands.REFUSED)
        true(why.startswith("exhausted: ") and "60 s" in why, why)
        equal(ran, [1])
        taken.uptime.now += 60
        taken.handle_at_once(messages.pop(0))
    equal(ran, [1, 1])


def test_arguments():
    specs = {
        "n": (int, 1, 5),
        "name": (str, 1, 3, None),
        "raw": (bytes, 0, 2, b""),
        "on": (bool,),
        "x": (float, 0, 1, 0.5),
    }
    good = {"n": 1, "on": True}
    equal(check_arguments(specs, good), {"n": 1, "on": True, "name": None, "raw": b"", "x": 0.5})
    for name, value in (("n", 5), ("name", "äöü"), ("raw", b"12"), ("on", False), ("x", 1), ("x", 0.25)):
        equal(check_arguments(specs, dict(good, **{name: value}))[name], value)
    for name, value, wanted in (
        ("n", 0, "n is 0; it must be a whole number from 1 to 5"),
        ("n", 6, "n is 6; it must be a whole number from 1 to 5"),
        ("n", True, "n is True; it must be a whole number from 1 to 5"),
        ("n", 1.0, "n is 1.0; it must be a whole number from 1 to 5"),
        ("n", "1", "n is '1'; it must be a whole number from 1 to 5"),
        ("n", None, "n is None; it must be a whole number from 1 to 5"),
        ("name", "", "name is ''; it must be a text of 1 to 3 characters"),
        ("name", "abcd", "name is 'abcd'; it must be a text of 1 to 3 characters"),
        ("name", b"a", "name is b'a'; it must be a text of 1 to 3 characters"),
        ("raw", b"123", "raw is b'123'; it must be 0 to 2 bytes"),
        ("raw", "1", "raw is '1'; it must be 0 to 2 bytes"),
        ("on", 1, "on is 1; it must be true or false"),
        ("x", True, "x is True; it must be a number from 0 to 1"),
        ("more", 1, "there is no argument more; it takes n, name, on, raw, x"),
    ):
        error = raises(ValueError, check_arguments, specs, dict(good, **{name: value}))
        equal(str(error), wanted)
    equal(str(raises(ValueError, check_arguments, specs, {"n": 1})), "on is missing: true or false")
    equal(str(raises(ValueError, check_arguments, {}, {"n": 1})), "there is no argument n; it takes none")
    true(len(str(raises(ValueError, check_arguments, specs, {"n": 1, "on": "x" * 900}))) < 100)


def test_the_decorator():
    with offering({}):

        @opcode("valve.set", OPERATE, limit_s=5, percent=(int, 0, 100), slow=(bool, False))
        def set_valve(call, percent, slow):
            return {"percent": percent, "slow": slow}

        equal(set_valve(None, 1, True), {"percent": 1, "slow": True})  # still a plain function
        taken = device(SmallFiles(scratch.folder()))
        wire = [entry for entry in check.vectors("wire_commands") if entry.get("name") == "argument"]
        taken.handle_at_once(bytes.fromhex(wire[0]["data"]))
        equal(taken.outbox.results()[0][3], {"percent": 40, "slow": False})
        described = application_opcodes.describe(commands.offered["valve.set"])
        equal(described, [2, 5, False, {"percent": ["int", 0, 100], "slow": ["bool", False]}])
        for bad in (
            ("valve.set", OPERATE),  # twice
            ("Valve", OPERATE),
            ("", OPERATE),
            ("v" * 33, OPERATE),
            ("1v", OPERATE),
            ("v", 4),
            ("v", None),
            ("v", READ, 0),
            ("v", DANGEROUS, 121),
        ):
            raises(ValueError, opcode, *bad)
        for spec in (int, (int,), (int, 1), (int, 2, 1), (list, 0, 1), (str, 0, 1, "", 2), (bool, True, 1), ()):
            raises(ValueError, opcode, "v", READ, x=spec)
        equal(list(commands.offered), ["valve.set"])


def test_the_engine_keeps_nothing():
    import sys

    taken = fresh()
    before = set(sys.modules)
    names = ("gate.commands.verify", "gate.commands.call", "gate.commands.builtin_opcodes")
    if any(name in before for name in names[:1]):
        check.skip("another script has imported them for itself")
    ask(lambda call: {}, taken=taken)
    left = set(sys.modules) - before
    equal([name for name in left if name.startswith("tidegate.")], [])
