"""What is known of a crash: kept over the reset, told once, bounded, whatever the files hold."""

from check import equal, true
from fake_agent import Agent
from gate.reporting import crash

GROUNDS = ("cpython", "unix", "cortex-m3")


def test_what_is_kept_of_an_exception_is_told_once():
    agent = Agent()
    agent.uptime.now = 123
    agent.log.add(1, "what came before")
    agent.state.write(
        "crash", b'2 7\nTraceback (most recent call last):\n  File "a.py", line 1\nValueError: no: \xff\n'
    )
    crash.keep(agent, "ValueError", "sample")
    true(crash.found(agent))
    crash.tell(agent)
    kind, reason, detail, cti, text = agent.outbox.alarms[0]
    equal((kind, reason, cti), ("crash", "ValueError", None))
    equal(detail, "2 times: ValueError: no: ?")
    for part in ("task sample", "1.2.3, sequence 7", "up 123 s", "line 1", "123 I what came before"):
        true(part in text, text)
    equal(crash.found(agent), False)


def test_a_reset_that_nobody_asked_for_is_told():
    for cause, reason in (("watchdog", "watchdog"), ("fault", "hard-fault"), ("unknown", "reset")):
        agent = Agent()
        agent.boot.reset_cause = cause
        agent.boot.board.fault = lambda: "pc 00001234"
        true(crash.found(agent), cause)
        crash.tell(agent)
        _, said, detail, _, text = agent.outbox.alarms[0]
        equal(said, reason)
        true("pc 00001234" in text and "pc 00001234" in detail, text)
    for cause in ("power-on", "hard", "soft"):
        agent = Agent()
        agent.boot.reset_cause = cause
        equal(crash.found(agent), False)


def test_a_text_is_bounded_and_ends_with_what_matters():
    agent = Agent()
    for number in range(40):
        agent.log.add(0, "line %d of the log \u20ac" % number)
    lines = "".join('  File "x.py", line %d, in f\n' % number for number in range(200))
    agent.state.write("crash", b"1 7\n" + lines.encode() + b"KeyError: x\n")
    crash.keep(agent, "KeyError", None)
    crash.tell(agent)
    text = agent.outbox.alarms[0][4]
    true(len(text.encode()) <= 1000, "%d bytes" % len(text.encode()))
    for part in ("task unknown", "line 199", "KeyError: x", "line 39 of the log"):
        true(part in text, text)


def test_a_reason_is_a_word():
    agent = Agent()
    agent.state.write("crash", b"1 7\nValueError: first\n" + b"x" * 500 + b"\n")
    crash.tell(agent)
    equal(agent.outbox.alarms[0][1], "x" * 32)


def test_files_that_are_none_of_ours_are_no_trouble():
    agent = Agent()
    for trace, fault in ((b"", b""), (b"x", b"y"), (b"\xff\n\xff", b"\xff\xff\n"), (b"1 2 3\n", b"\n\n\n\n")):
        agent.state.write("crash", trace)
        agent.state.write("fault", fault)
        crash.Crash(agent.state)
        if crash.found(agent):
            crash.tell(agent)
