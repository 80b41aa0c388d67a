"""The queue of signed commands: verifies each (gate.commands.verify), executes it
(gate.commands.executor), answers it. docs/commands.md has the rules.

Before a command is executed, its counter and its name are stored: a reset may interrupt a command,
which is reported after the reset, but never repeats one.
"""

import cbor

from gate import ConfigError, LinkError, commands, console, ondemand
from gate.clock import const
from gate.reporting import alarms
from gate.reporting.reports import shorten
from gate.tasks import Job
from gate.trust.intake import Intake

COUNTERS = "counters"  # {kid: highest counter used, _CURRENT: [cti, opcode] of what runs}
_CURRENT = const(0)

# keys of a result, docs/wire.cddl
_CTI = const(1)
_CODE = const(2)
_ANSWER = const(3)
_WHY = const(4)
_PROOF = const(7)

_QUEUE = const(4)  # waiting commands; more are refused
_MAX_SIZE = const(1024)  # bytes
# So many messages within a minute that are not valid commands for this device, or find no room,
# are a flood (gate.trust.intake): anyone with the broker's password can send them.
_STRANGERS = const(8)
_EXHAUSTED = const(3)  # commands in a row that ran out of time, memory or output
_PAUSE_S = const(60)
_STARVED = const(3)  # commands in a row that could not be verified for lack of memory
_PUBLISH_S = const(20)  # for one acknowledgement
_PUBLISH_TIMES = const(3)
_STORED_SIZE = const(400)  # bytes of a message that the outbox stores over a reset


class Commands:
    """The queue of commands and the task that executes them. received: commands that arrived since
    the start; idle: whether none waits or runs; work: the Job of executing them.
    """

    def __init__(self, agent, device, state, link, outbox, alarms, uptime, nonce, dangerous):
        """agent: for the functions of opcodes, as call.agent; device: gate.device.Device; state:
        SmallFiles with the counters; link: publishes answers, which the outbox stores while it is
        down; nonce: of this boot's birth; dangerous: whether opcodes of that role are offered.
        """
        self._agent = agent
        self._device = device
        self._state = state
        self._link = link
        self._outbox = outbox
        self._alarms = alarms
        self._uptime = uptime
        self._dangerous = dangerous
        self._nonce = nonce
        # Functions that the agent sets:
        self.now = None  # now() -> seconds since 1970, or None if the clock cannot be trusted
        self.give_up = None  # give_up(reason, task): asks for a reset
        self.signed_at = None  # signed_at(seconds since 1970): a command key signed, or None
        self._counters = _counters(state)
        self._queue = []
        self._at_work = False
        self.received = 0
        live = nonce, self._counters, lambda: self.now()
        self.intake = Intake("cmd", device, uptime, alarms, self._wait, _STRANGERS, live)
        self.work = self.intake.arrived = Job()
        self._exhausted = self._resting_until = 0  # the latter: uptime, s
        self._starved = 0
        if commands.offered:
            _report_shadowed()

    @property
    def idle(self):
        return not self._queue and not self._at_work

    def push(self, data):
        """Queues a command (bytes-like) from the network. Cheap: called from the MQTT reader."""
        intake = self.intake
        if intake.flood:
            intake.push(data)
        else:
            self._wait(data)

    def _wait(self, data):
        self.received += 1
        if len(data) > _MAX_SIZE:
            self._alarm("too-large", "%d bytes, at most %d" % (len(data), _MAX_SIZE))
        elif len(self._queue) >= _QUEUE:
            self._alarm("busy", "more than %d commands at once" % _QUEUE)
        else:
            self._queue.append(bytes(data))
            self.work.set()
            return
        self.intake.count()

    async def run(self, beat):
        """The task of `work`: executes all that came."""
        self._at_work = False
        self.answer_interrupted("a fault of the agent")  # nothing, unless this is a new beginning
        data = self._next()
        while data is not None:
            self._at_work = True
            genuine = await self.handle(data, beat)
            self._at_work = False
            if genuine:
                await beat.sleep(0)
            else:
                await self.intake.judged(data, beat)
            data = self._next()

    def _next(self):
        data = self.intake.take()  # before what is older: it may be all that is genuine
        if data is None and self._queue:
            data = self._queue.pop(0)
        return data

    async def handle(self, data, beat):
        """Verifies, executes and answers one command. Whether it was signed by a key of ours."""
        try:
            with ondemand.modules:
                command = self._accept(data)
        except (MemoryError, ConfigError) as error:  # no counter was used
            reason = "memory" if isinstance(error, MemoryError) else "storage"
            self._alarm(reason, "it could not be verified: %r" % error)
            self._starve(reason)
            return True
        if not isinstance(command, tuple):
            return command
        console.info("command %s", command[1])
        last = None
        try:
            with ondemand.modules:
                end, last = await self._execute(command, beat)
        except MemoryError:
            end = _result(command[0], commands.FAILED, "memory: not enough to execute it")
        except Exception as error:  # whatever is wrong with an opcode's module
            end = _result(command[0], commands.FAILED, repr(error))
        await self._deliver(end, beat)
        self._store(None)
        if last:
            try:
                with ondemand.modules:
                    last()
            except Exception as error:  # it has been answered: only the log can say this
                console.error("after command %s: %r", command[1], error)
        return True

    async def _execute(self, command, beat):
        """Returns (result as a map, function to call after it was answered or None)."""
        from gate.commands.executor import Execution

        execution = Execution(self._agent, self._device, self._dangerous, *command)
        await execution.run(self._resting_until - self._uptime.seconds(), beat)
        now = self._uptime.seconds()
        if execution.reason:
            self._alarm(execution.reason, execution.why, command[0])
        elif not execution.exhausted:
            self._exhausted = 0
        else:
            self._exhausted += 1
            if self._exhausted >= _EXHAUSTED:
                self._exhausted = 0
                self._resting_until = now + _PAUSE_S
                self._say_paused("exhausted", "%d commands took too much" % _EXHAUSTED)
        return execution.signed_end(self._nonce), execution.last

    def _accept(self, data):
        """Verifies a command and stores its counter. Returns (cti, opcode, arguments, whether its
        keys may only read, SHA-256 of it if the result is to be signed or None); if it was
        refused, which has been answered or reported, whether it was genuine all the same.
        """
        from gate.commands import verify
        from gate.trust import storage

        device = self._device
        try:
            cti, kids, reads_only, opcode, arguments, signed = verify.verify(
                data,
                storage.open(device),
                device.feed,
                device.id,
                self._nonce,
                self._counters,
                self.now(),
            )
        except verify.Refusal as refusal:
            return self._refuse(refusal)
        problem = self._store([cti, opcode], kids, cti)
        if problem:
            self._alarm("storage", problem, cti)
            self._answer(_result(cti, commands.REFUSED, "storage: " + problem))
            return True
        self._starved = 0
        if self.signed_at and not reads_only:  # a diagnose key must not move the stored time
            self.signed_at(signed)
        return cti, opcode, arguments, reads_only, verify.digest_for_proof(data)

    def _refuse(self, refusal):
        cti, detail = refusal.cti, refusal.detail
        self._alarm(refusal.reason, detail, cti)
        if refusal.kids:
            self._store(None, refusal.kids, cti)
            self._answer(_result(cti, commands.REFUSED, refusal.reason + ": " + detail))
            return True
        self._starve(refusal.reason)
        self.intake.count()
        return False

    def _starve(self, reason):
        """Counts lack of memory: a board that leaks could in the end neither be commanded nor
        updated, so it restarts.
        """
        self._starved = self._starved + 1 if reason == "memory" else 0
        if self._starved >= _STARVED:
            self._starved = 0
            console.error("%d commands found no memory; reset", _STARVED)
            self.give_up("memory", "commands")

    def _store(self, current, kids=(), cti=b""):
        """Stores the counters and the current command ([cti, opcode] or None). Returns None, or
        what went wrong.
        """
        counters = self._counters
        for kid in kids:
            counters[kid] = int.from_bytes(cti, "big")
        if current:
            counters[_CURRENT] = current
        else:
            counters.pop(_CURRENT, None)
        try:
            self._state.store(COUNTERS, counters)
        except OSError as error:
            counters.pop(_CURRENT, None)
            return "the counter could not be stored: %r" % error
        return None

    def answer_interrupted(self, reset_cause):
        """Answers the command that the last reset interrupted; call once, before run(), which
        does so for one that a fault interrupted.
        """
        found = self._counters.get(_CURRENT)
        if found:
            why = "interrupted by a reset (%s) before it was answered" % reset_cause
            if reset_cause[:7] == "a fault":
                why = "interrupted by %s before it was answered" % reset_cause
            console.info("command %s was %s", found[1], why)
            self._answer(_result(found[0], commands.FAILED, why))
            self._store(None)

    async def _deliver(self, end, beat):
        """Sends the result until it is acknowledged; failing that, stores it for later."""
        payload = cbor.dumps(end)
        for _ in range(_PUBLISH_TIMES if len(payload) > _STORED_SIZE else 1):
            try:
                beat()
                await self._link.publish("result", payload, 1, False, _PUBLISH_S)
                return
            except (LinkError, MemoryError) as error:
                console.debug("result: %r", error)
                await beat.sleep(1)
        if len(payload) > _STORED_SIZE:
            end.pop(_ANSWER, None)
            end.pop(_PROOF, None)
            end[_WHY] = "its answer of %d bytes could not be sent" % len(payload)
        self._answer(end)
        self._outbox.save()

    def _answer(self, message):
        self._outbox.add("result", cbor.dumps(message))

    def _say_paused(self, reason, detail):
        self._alarms.raise_(
            alarms.COMMANDS_PAUSED, reason, "%s; the next in %d s" % (detail, _PAUSE_S)
        )

    def _alarm(self, reason, detail, cti=None):
        self._alarms.raise_(alarms.COMMAND_REFUSED, reason, detail, cti)


def _result(cti, code, why):
    """A result without an answer, a map (docs/wire.cddl)."""
    return {_CTI: cti, _CODE: code, _WHY: shorten(why)}


def _report_shadowed():
    """Logs the application's opcodes whose names are built in."""
    with ondemand.modules:
        from gate.commands import builtin_opcodes

        for name in commands.offered:
            if name in builtin_opcodes.TABLE:
                console.error("opcode %s is built in; the application's is not used", name)


def _counters(state):
    """The stored counters, without entries that are not valid."""
    stored = state.load(COUNTERS)
    counters = {}
    if isinstance(stored, dict):
        for kid, value in stored.items():
            if isinstance(kid, bytes) and isinstance(value, int):
                counters[kid] = value
        found = stored.get(_CURRENT)
        if isinstance(found, list) and len(found) == 2 and isinstance(found[0], bytes):
            counters[_CURRENT] = found
    return counters
