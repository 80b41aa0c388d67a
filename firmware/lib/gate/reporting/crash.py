"""Why the last boot ended unexpectedly: stored over the reset, and reported as an alarm once
there is a connection.

The loader keeps the trace of an exception (state/crash). Beside it goes what only the agent knows
(state/fault): the task at fault, version, uptime, the last lines of the log. A reset that nobody
could see coming is known by its cause, and by what the board itself noted in its last moment.
"""

import io
import sys

from gate import console
from gate.clock import const
from gate.reporting import alarms
from gate.reporting.reports import shorten

TRACE = "crash"  # written by the loader: "COUNT SEQUENCE\n" and a trace
FAULT = "fault"  # "REASON\n", a line about the boot, and lines of the log

_MOST = const(1000)  # bytes of the alarm's text
_TRACE = const(600)  # bytes of it that are the trace, its end
_HEAD = const(32)  # bytes of the trace's first line, at most
_WORD = const(32)  # bytes of a reason
_LOG = const(400)  # bytes of the log that are stored
# Causes of a reset that nobody asked for.
_CAUSES = {"watchdog": "watchdog", "fault": "hard-fault", "unknown": "reset"}


def keep(agent, reason, task):
    """Something goes wrong for good: keeps what is known. task: the name of the one at fault, or
    None. Raises nothing.
    """
    boot, release = agent.boot, agent.release
    about = "task %s; %s, sequence %d, slot %s, up %d s, started by %s" % (
        task or "unknown",
        release["version"],
        boot.running.sequence,
        boot.slot,
        agent.uptime.seconds(),
        boot.reset_cause,
    )
    _write(agent.state, reason, about, agent.log)
    agent.outbox.save()
    agent.telemetry.keep()
    agent.log.save()


def note(state, sequence, why):
    """Stores `why`, a line, as the loader stores a trace; for ends without an exception."""
    try:
        state.write(TRACE, ("1 %d\n%s\n" % (sequence, why)).encode())
    except OSError as error:
        console.error("the reason could not be stored: %s", error)


def found(agent):
    """Whether there is something to tell once there is a connection. At a start."""
    boot, state = agent.boot, agent.state
    reason = _CAUSES.get(boot.reset_cause)
    state.remove(FAULT + ".new")  # of a power cut while it was written
    found = state.size(FAULT) or state.size(TRACE)
    if reason and not found:
        said = boot.board.fault() if hasattr(boot.board, "fault") else None
        about = "sequence %d, slot %s" % (boot.running.sequence, boot.slot)
        _write(state, reason, about + ("; " + said if said else ""), agent.log)
        found = True
    # The update reports how a trial ended (gate.update.trial).
    return bool(found) and not boot.trial and boot.outcome is None


def tell(agent):
    """Raises the alarm; the stored crash is removed once the alarm is stored in its place."""
    last = Crash(agent.state)
    times = "%d times: " % last.count if last.count else ""
    agent.alarms.raise_(alarms.CRASH, last.reason, times + last.line, None, last.text)
    agent.outbox.save()
    forget(agent.state)


def tell_failure(agent, task, error, count):
    """Raises the alarm about a task that raised, for the count-th time, and begins again."""
    line = repr(error) if count < 2 else "%d times: %r" % (count, error)
    console.error("task %s: %s; it begins again", task, line)
    text = "task %s; %s, sequence %d, up %d s\n%s" % (
        task,
        agent.release["version"],
        agent.boot.running.sequence,
        agent.uptime.seconds(),
        _trace(error),
    )
    room = _MOST - len(text.encode()) - 10
    if room > 40:
        log = (_tail(agent.log.files, "new") + agent.log.waiting())[-_LOG:]
        text += "-- log\n" + _end(_text(log), room)
    reason = shorten(type(error).__name__, _WORD)
    agent.alarms.raise_(alarms.CRASH, reason, line, None, shorten(text, _MOST))


def forget(state):
    state.remove(TRACE)
    state.remove(FAULT)


class Crash:
    """The stored facts of the last crash. sequence: of the image that crashed, None without a
    trace; count: how often it did; reason: a word; line: for people; text: all that is known, or
    "".
    """

    def __init__(self, state):
        self.count, self.sequence, self.line = 0, None, ""
        trace = self._read_trace(state)
        reason, about, lines = _read(state)
        reason = reason or self.line.split(":")[0].split(" ")[0] or "reset"
        self.reason = shorten(reason, _WORD)  # the last line may be anything
        self.line = self.line or about
        text = about + "\n" + trace if about else trace
        room = _MOST - len(text.encode()) - 10
        if lines and room > 40:
            text += "-- log\n" + _end(lines, room)
        self.text = shorten(text, _MOST)

    def _read_trace(self, state):
        try:
            with open(state.path(TRACE), "rb") as file:
                head = file.read(_HEAD)
                count, sequence = head.split(b"\n")[0].split()
                self.count, self.sequence = int(count), int(sequence)
                # A trace may be long; what it ends in says what happened.
                file.seek(max(head.find(b"\n") + 1, state.size(TRACE) - _TRACE))
                trace = _end(_text(file.read(_TRACE)), _TRACE)
        except (OSError, ValueError):  # none, or not ours
            return ""
        self.line = trace.strip().split("\n")[-1].strip()
        return trace


def _write(state, reason, about, log):
    try:
        lines = (_tail(log.files, "new") + log.waiting())[-_LOG:]
        state.write(FAULT, ("%s\n%s\n" % (reason, about)).encode() + lines)
    except (OSError, MemoryError) as error:
        console.error("the crash could not be stored: %r", error)


def _tail(files, name):
    """The last bytes of a file."""
    try:
        with open(files.path(name), "rb") as file:
            file.seek(max(0, files.size(name) - _LOG))
            return file.read(_LOG)
    except OSError:
        return b""


def _read(state):
    """(reason, about, lines of the log)."""
    data = state.read(FAULT)
    if not data:
        return "", "", ""
    parts = _text(data).split("\n", 2)
    return (parts + ["", ""])[:3] if len(parts) > 1 else ("", "", "")


def _trace(error):
    """The end of an exception's trace."""
    if hasattr(sys, "print_exception"):  # MicroPython
        out = io.StringIO()
        sys.print_exception(error, out)
        return _end(out.getvalue(), _TRACE)
    return ""


def _end(text, size):
    """The whole lines at the end of a text, at most so many bytes, with a newline after them."""
    data = text.strip().encode()
    if len(data) > size:
        data = data[-size:]
        data = data[data.find(b"\n") + 1 :]
    return _text(data) + "\n"


def _text(data):
    """Bytes as text, whatever they are."""
    try:
        return str(data, "utf-8")
    except ValueError:
        return "".join(chr(byte) if byte < 128 else "?" for byte in data)
