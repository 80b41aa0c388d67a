"""Outbox and alarms: in order, bounded, nothing lost without being counted. Telemetry: test_pipeline."""

import cbor
import scratch
from check import equal, raises, true
from fake_link import Link, QuickBeat, Uptime, run
from gate.files import SmallFiles
from gate.reporting import reports
from gate.reporting.alarms import Alarms
from gate.reporting.outbox import Outbox
from gate.update import failures

# ---------------------------------------------------------------- outbox


def test_outbox_keeps_the_order_over_a_reset():
    link = Link()
    link.connected = False
    state = SmallFiles(scratch.folder())
    outbox = Outbox(link, state)
    for number in range(5):
        outbox.add("report", bytes([number]))
    outbox.add("report", b"progress", keep=False)
    outbox = Outbox(link, state)  # after a reset
    outbox.add("report", bytes([5]))
    link.connected = True
    link.lose = 2
    run(outbox.run(QuickBeat("o", 9)))
    equal(link.sent, [("report", bytes([number])) for number in range(6)])
    equal(state.names(), [])
    equal(Outbox(link, state).queue, [])


def test_outbox_is_bounded():
    link = Link()
    link.connected = False
    outbox = Outbox(link, SmallFiles(scratch.folder()))
    for number in range(40):
        outbox.add("report", bytes([number]))
    equal([entry[1] for entry in outbox.queue], [bytes([number]) for number in range(24, 40)])
    equal(outbox.dropped, 24)


def test_damaged_outbox_file_is_no_crash():
    state = SmallFiles(scratch.folder())
    for content in (5, [5], [["report"]], [[1, 2]], {"a": 1}):
        state.store("outbox", content)
        equal(Outbox(Link(), state).queue, [])


# ---------------------------------------------------------------- alarms and reports


def test_alarms_are_limited_and_counted():
    link, uptime = Link(), Uptime()
    outbox = Outbox(link, SmallFiles(scratch.folder()))
    alarms = Alarms(outbox, uptime)
    for _ in range(9):
        alarms.raise_("command-refused", "signature")
    alarms.raise_("crash", "exception")  # another kind is not held back
    equal(len(outbox.queue), 6)
    uptime.now = 29
    alarms.raise_("command-refused", "signature")
    equal(len(outbox.queue), 6)
    uptime.now = 30
    alarms.raise_("command-refused", "signature")
    equal(cbor.loads(outbox.queue[-1][1]), {1: "command-refused", 2: "signature", 5: 5})


def test_reports_fit_their_limits():
    link = Link()
    outbox = Outbox(link, SmallFiles(scratch.folder()))
    settled = []
    reporter = reports.Reporter(bytes(8), outbox, lambda: settled.append(True))
    failure = failures.Failure(failures.PATCH, "\u00e4" * 200)
    reporter.report(reports.FAILED, 7, bytes(32), failure=failure)
    message = cbor.loads(outbox.queue[0][1])
    equal(len(message[-260].encode()), 160)
    equal(message[4], {5: 12, 7: 11})
    equal(message[99], [[-16, bytes(32)]])
    equal(message[-257], [0, 5])
    reporter.report(reports.FETCHING, 7)
    equal(settled, [True])


def test_every_failure_has_a_word_and_numbers():
    for code in list(range(1, 18)) + list(range(32, 40)):
        failure = failures.Failure(code, "x")
        true(failure.word and 0 < failure.reason <= 12 and 0 < failure.result <= 11, "code %d" % code)
    raises(KeyError, failures.Failure, 31, "x")
