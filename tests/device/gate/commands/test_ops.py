"""The catalog's functions, each asked as the engine would; files without secrets."""

import asyncio
import os

import cbor
import check
import scratch
from check import equal, raises, true
from fake_agent import Agent, Call, ask
from gate import values
from gate.commands import application_opcodes, builtin_opcodes
from gate.commands.ops import bench, device, dns, execute, files, memory, network, sensors
from gate.supervisor import Supervisor
from gate.tasks import Job, Tasks
from gate.telemetry.streams import Measure, Stream

GROUNDS = ("cpython", "unix", "cortex-m3")
HEAP = "512k"


def streams():
    return (
        Stream("env", Measure("t", "Cel", lambda: 2050, 100, over=30), Measure("u", "V", lambda: None)),
        Stream("bus", Measure("v", "m/s", lambda: 1 // 0, 10), period_ms=200, window=50),
    )


# ---------------------------------------------------------------- the table


def test_every_entry_has_a_function_and_sound_specifications():
    for name, entry in builtin_opcodes.TABLE.items():
        application_opcodes._check_name(name)
        found = builtin_opcodes.find(name)
        true(callable(found.function), name)
        true(found.role in (application_opcodes.READ, application_opcodes.OPERATE, application_opcodes.DANGEROUS), name)
        true(1 <= found.limit_s <= application_opcodes.MOST_S, name)
        for key, spec in entry.arguments.items():
            true(values.is_spec(spec), "%s %s" % (name, key))
    equal(builtin_opcodes.find("nothing"), None)


def test_the_table_knows_what_is_in_the_image():
    equal(sorted(builtin_opcodes.here()), sorted(builtin_opcodes.TABLE))
    builtin_opcodes.TABLE["lost"] = application_opcodes.Opcode("lost.one", application_opcodes.READ, 1, False, {})
    try:
        true("lost" not in builtin_opcodes.here() and "lost" not in ask(Agent(), device.ops)[0])
        raises(ImportError, builtin_opcodes.find, "lost")
        true(builtin_opcodes.is_here("info") and not builtin_opcodes.is_here("lost"))
    finally:
        del builtin_opcodes.TABLE["lost"]


def test_ops_fits_one_answer_and_names_what_is_here():
    agent = Agent()
    offered = ask(agent, device.ops)[0]
    true("log.tail" in offered and "host.df" not in offered)
    true(len(cbor.dumps(offered)) <= 2900, "%d bytes" % len(cbor.dumps(offered)))


# ---------------------------------------------------------------- files


def test_files():
    agent = Agent()
    folder = agent.boot.board.folder
    agent.state.write("note", b"hello\n")
    answer, text = ask(agent, files.ls, path=folder)
    equal(answer, {"entries": 4})
    true("config.json" in text and "     state/" in text, text)
    equal(
        ask(agent, files.cat, path=folder + "/state/note", offset=1, size=3),
        ({"path": folder + "/state/note", "size": 6}, "ell"),
    )
    equal(ask(agent, files.cat, path=folder + "/state/note", offset=99, size=3)[1], "")
    digest = ask(agent, files.hash_, path=folder + "/state/note")[0]
    equal(digest["sha256"], "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
    equal(ask(agent, files.stat, path=folder + "/state/note")[0]["size"], 6)
    equal(ask(agent, files.stat, path=folder)[0]["folder"], True)
    raises(OSError, ask, agent, files.cat, path=folder + "/state/none", offset=0, size=1)


def test_a_large_file_does_not_stop_the_others():
    agent = Agent()
    with open(agent.state.path("large"), "wb") as file:
        for _ in range(20):
            file.write(bytes(1024))
    call = Call(agent)
    asyncio.run(files.hash_(call, agent.state.path("large")))
    true(call.pauses >= 2, call.pauses)


def test_text_is_never_cut_in_a_character_and_bytes_are_shown():
    agent = Agent()
    path = agent.boot.board.folder + "/state/text"
    text = "\u00e4\u20ac" * 130
    agent.state.write("text", text.encode())
    equal(ask(agent, files.cat, path=path, offset=0, size=5000)[1], text)
    agent.state.write("text", b"a\xffb\0")
    equal(ask(agent, files.cat, path=path, offset=0, size=100)[1], "a\\xffb\\x00")


def test_secrets_are_not_shown():
    agent = Agent()
    own = agent.boot.board.folder
    for name in ("key", "claim", "client-key.der", "credentials.json.new", "anything"):
        scratch.write(own + "/" + name, b"hush")
    agent.state.write("api-token", b"hush")
    for path in (
        own + "/credentials.json",
        own + "//credentials.json",
        own + "/./credentials.json",
        own + "/state/../credentials.json",
        own[1:] + "/credentials.json",
        "/.." + own + "/credentials.json",
        own + "/credentials.json.new",
        own + "/key",
        own + "/claim",
        own + "/client-key.der",
        own + "/anything",
        own + "/state/api-token",
        own + "/log/Credentials.txt",
        own.upper() + "/CREDEN~1.JSO",
        own + "/CREDEN~1.JSO",
        "/somewhere/id.pem",
        "/tmp/private_key",
        "/Secrets/wlan.txt",
    ):
        for function, given in ((files.cat, {"offset": 0, "size": 9}), (files.hash_, {})):
            raises(files.NotShown, ask, agent, function, path=path, **given)


# ---------------------------------------------------------------- the rest


def test_memory():
    answer = ask(Agent(), memory.mem)[0]
    true(answer["largest"] > 1024)
    true("free" in ask(Agent(), memory.collect)[0])


def test_sensors_say_what_is_wrong():
    found = ask(Agent(streams()), sensors.sensors)[0]
    equal((found["env"]["t"], found["env"]["u"]), (20.5, None))
    true(found["bus"]["v"].startswith("ZeroDivisionError"), found["bus"]["v"])


def test_tasks():
    agent = Agent()
    agent.supervisor = Supervisor(None, None)
    agent.tasks = tasks = Tasks(agent.supervisor, None)
    three, four = Job(), Job()

    async def main():
        async def end():
            pass

        async def work(beat):
            await beat.sleep(60)

        tasks.start("one", work, 60)
        tasks.start("two", asyncio.Event().wait)
        tasks.work("three", end, 70, three)
        tasks.work("four", work, 80, four)
        four.set()
        for _ in range(3):
            await asyncio.sleep(0)
        found = ask_here(agent)
        for _, task in tasks.live:
            task.cancel()
        return found

    def ask_here(agent):
        from fake_agent import Call

        return device.tasks(Call(agent))

    found = asyncio.run(main())
    equal((found["one"][0], found["one"][2], found["two"]), ("works", 60, ["runs"]))
    equal(found["three"], ["waits", None, 70])
    equal((found["four"][0], found["four"][2]), ("works", 80))


def test_bench():
    answer = ask(Agent(), bench.bench)[0]
    equal(sorted(answer), ["loop_ms", "native", "read_ms", "sha256_ms", "signature_ms", "write_ms"])


def test_exec():
    answer, text = ask(Agent(), execute.exec_, code="print('a', 1)\nanswer = 6 * 7")
    equal((answer, text), ({"answer": "42"}, "a 1\n"))
    raises(ZeroDivisionError, ask, Agent(), execute.exec_, code="1/0")


def test_network_says_why_not():
    agent = Agent()
    equal(ask(agent, network.net)[0]["hardware"], "026964")
    if check.ground == "cortex-m3":
        check.network()
    host = "10.0.2.2" if check.ground == "cortex-m3" else "127.0.0.1"
    equal(ask(agent, network.resolve, host=host)[0]["addresses"], [host])
    for bad in ("a b", "x\r\ny", "\u00e4", "-x"):
        raises(ValueError, ask, agent, network.resolve, host=bad)
    error = raises(OSError, ask, agent, network.connect, host=host, port=9, timeout_s=3)
    true("port 9" in str(error), str(error))


def test_answers_of_name_servers():
    question = dns._question(b"\1\2", "a.example.")
    equal(len(question), 27)
    head = b"\1\2\x81\x80\0\1\0\3\0\0\0\0"
    alias = b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x0e"
    one = b"\1b\xc0\x0e\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\x01"
    two = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\x02"
    good = head + question[12:] + alias + one + two
    equal(dns.parse(good, 27, "s", "a"), ["10.0.0.1", "10.0.0.2"])
    error = raises(dns.NameFailure, dns.parse, b"\1\2\x81\x83" + good[4:], 27, "s", "a")
    true("no such name" in str(error), str(error))
    random = check.Random(7)
    for size in range(len(good)):
        nonsense(good[:size])
    for _ in range(300):
        changed = bytearray(good)
        changed[random.below(len(good))] = random.below(256)
        nonsense(bytes(changed))
    for bad in ("a..b", "x" * 64, ""):
        raises(ValueError, dns._question, b"\1\2", bad)


def nonsense(data):
    try:
        dns.parse(data, 27, "s", "a")
    except dns.NameFailure:
        pass


def test_ping():
    if check.ground == "cortex-m3":
        check.network()
    elif hasattr(os, "geteuid") and os.geteuid() != 0:
        check.skip("pings need root here")
    host = "10.0.2.2" if check.ground == "cortex-m3" else "127.0.0.1"
    try:
        answer = ask(Agent(), network.ping, host=host, n=2)[0]
    except OSError as error:
        if "no pings" not in str(error):
            raise
        check.skip(str(error))
    equal((answer["address"], len(answer["ms"])), (host, 2))
