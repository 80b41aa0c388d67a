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


def phases(outbox):
    return [cbor.loads(entry[1])[-258] for entry in outbox.queue]


def test_what_an_update_came_to_outlasts_any_number_of_refusals():
    link = Link()
    link.connected = False
    state = SmallFiles(scratch.folder())
    outbox = Outbox(link, state, reports.outlasts)
    reporter = reports.Reporter(bytes(8), outbox, lambda: None)
    refused = failures.Failure(failures.PATCH, "x" * 160)
    reporter.report(reports.REFUSED, 6, failure=refused)
    reporter.report(reports.INSTALLED, 7)
    reporter.report(reports.CONFIRMED, 7)
    for number in range(100):
        reporter.report(reports.REFUSED, 8 + number, failure=refused)
    equal(phases(outbox), [reports.INSTALLED, reports.CONFIRMED] + [reports.REFUSED] * 14)
    equal(outbox.dropped, 87)
    outbox = Outbox(link, state, reports.outlasts)  # after a reset they still do
    equal(phases(outbox), [reports.INSTALLED, reports.CONFIRMED] + [reports.REFUSED] * 14)
    reporter = reports.Reporter(bytes(8), outbox, lambda: None)
    for number in range(100):
        reporter.report(reports.REFUSED, 108 + number, failure=refused)
    equal(phases(outbox), [reports.INSTALLED, reports.CONFIRMED] + [reports.REFUSED] * 14)


def test_those_that_outlast_others_are_bounded_too():
    link = Link()
    link.connected = False
    outbox = Outbox(link, SmallFiles(scratch.folder()), reports.outlasts)
    reporter = reports.Reporter(bytes(8), outbox, lambda: None)
    for number in range(30):
        reporter.report(reports.ROLLED_BACK, number)
    equal([cbor.loads(entry[1])[-259] for entry in outbox.queue], list(range(22, 30)))
    outbox.add("alarm", b"there is room for other things")
    equal(len(outbox.queue), 9)


def test_they_have_the_room_on_flash_first():
    link = Link()
    link.connected = False
    state = SmallFiles(scratch.folder())
    outbox = Outbox(link, state, lambda topic, payload: topic == "report")
    outbox.add("report", b"installed")
    for _ in range(6):
        outbox.add("alarm", bytes(1400))
    queue = Outbox(link, state).queue
    equal([entry[:2] for entry in queue], [("report", b"installed")] + [("alarm", bytes(1400))] * 4)


def test_damaged_outbox_file_is_no_crash():
    state = SmallFiles(scratch.folder())
    for content in (5, [5], [["report"]], [[1, 2]], {"a": 1}):
        state.store("outbox", content)
        equal(Outbox(Link(), state).queue, [])
    for payload in (b"", b"\xff", b"\x05", b"\xa1", b"\xa1\x39\x01\x01\x80"):
        state.store("outbox", [["report", payload]])
        equal(len(Outbox(Link(), state, reports.outlasts).queue), 1)


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
