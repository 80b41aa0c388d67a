"""Signed commands: taken from the network one by one, judged (gate.commands.verify), carried out
(gate.commands.executor), answered. docs/commands.md has the rules.

The counter is on the file system before a command is carried out, and beside it which command that
is: a reset may break a command off, which is said after it, and never repeats one.
"""

import asyncio

import cbor

from gate import ConfigError, LinkError, console, ondemand
from gate.clock import const
from gate.reporting import alarms
from gate.reporting.reports import shorten

offered = {}  # the application's opcodes (gate.commands.registry)

COUNTERS = "counters"  # {kid: highest counter used up, _CARRIED_OUT: the command's cti and opcode}
_CARRIED_OUT = const(0)

_QUEUE = const(4)  # commands that wait; more are refused
_MAX_SIZE = const(1024)  # bytes
# So many messages that are not good commands of this device within a pause, and verifying pauses:
# whoever has the broker's password can make them, and each costs a signature's worth of CPU.
_STRANGERS = const(8)
_EXHAUSTED = const(3)  # commands in a row that ran out of time, memory or output
_PAUSE_S = const(60)
_STARVED = const(3)  # commands in a row that could not be verified for want of memory
_PUBLISH_S = const(20)  # for one acknowledgement
_PUBLISH_TIMES = const(3)
_KEPT_SIZE = const(400)  # bytes of a message that the outbox keeps over a reset

DONE = const(0)
FAILED = const(1)
REFUSED = const(2)


class Commands:
    """The queue of commands and the task that carries them out. received: commands that came, ever
    since the start; idle: none waits or is being carried out.
    """

    def __init__(self, agent, nonce, dangerous=False):
        """agent: gate.agent.Agent; nonce: of this boot's birth; dangerous: whether opcodes of
        that role are offered.
        """
        self.agent = agent
        self.dangerous = dangerous
        self.signed_at = None  # function(seconds since 1970), told when a command key signed
        self._nonce = nonce
        self._counters = _counters(agent.state)
        self._queue = []
        self._work = asyncio.Event()
        self._at_work = False
        self.received = 0
        # Two breakers: what is counted, since when and until when (uptime, s)
        self._strangers = self._strangers_since = self._closed_until = 0
        self._exhausted = self._resting_until = 0
        self._starved = 0
        self._say_interrupted()
        if offered:
            _tell_shadowed()

    @property
    def idle(self):
        return not self._queue and not self._at_work

    def push(self, data):
        """Takes a command (bytes) from the network. Cheap: called from the MQTT reader."""
        self.received += 1
        if len(data) > _MAX_SIZE:
            self._alarm("too-large", "%d bytes, at most %d" % (len(data), _MAX_SIZE))
        elif len(self._queue) >= _QUEUE:
            self._alarm("busy", "more than %d commands at once" % _QUEUE)
        else:
            self._queue.append(data)
            self._work.set()

    async def run(self, beat):
        """The task that carries commands out."""
        while True:
            await beat.wait(self._work)
            while self._queue:
                while self.agent.uptime.seconds() < self._closed_until:
                    await beat.sleep(1)
                self._at_work = True
                await self.handle(self._queue.pop(0), beat)
                self._at_work = False
                await beat.sleep(0)

    async def handle(self, data, beat):
        """Judges, carries out and answers one command."""
        try:
            with ondemand.modules:
                command = self._accept(data)
        except (MemoryError, ConfigError) as error:  # it used no counter up
            reason = "memory" if isinstance(error, MemoryError) else "storage"
            self._alarm(reason, "it could not be verified: %r" % error)
            self._starve(reason)
            return
        if not command:
            return
        console.info("command %s", command[1])
        last = None
        try:
            with ondemand.modules:
                end, last = await self._carry_out(command, beat)
        except MemoryError:
            end = {1: command[0], 2: FAILED, 4: "memory: not enough to carry it out"}
        except Exception as error:  # whatever is wrong with an opcode's module
            end = {1: command[0], 2: FAILED, 4: shorten(repr(error))}
        await self._deliver(end, beat)
        self._keep(None)
        if last:
            try:
                with ondemand.modules:
                    last()
            except Exception as error:  # it was answered; all that is left is to say it here
                console.error("after command %s: %r", command[1], error)

    async def _carry_out(self, command, beat):
        """(its end as a message, what is to be called after that or None)."""
        from gate.commands.executor import Carrying

        carrying = Carrying(self.agent, self.dangerous, *command)
        await carrying.run(self._resting_until - self.agent.uptime.seconds(), beat)
        now = self.agent.uptime.seconds()
        if carrying.reason:
            self._alarm(carrying.reason, carrying.why, command[0])
        elif not carrying.exhausted:
            self._exhausted = 0
        else:
            self._exhausted += 1
            if self._exhausted >= _EXHAUSTED:
                self._exhausted = 0
                self._resting_until = now + _PAUSE_S
                self._say_paused("exhausted", "%d commands took too much" % _EXHAUSTED)
        return carrying.end(), carrying.last

    def _accept(self, data):
        """(cti, opcode, arguments, whether its keys may only read), its counter used up; None if
        it is refused, which was said.
        """
        from gate.commands import verify
        from gate.trust import storage

        agent = self.agent
        device = agent.device
        try:
            cti, kids, reads_only, opcode, arguments, signed = verify.judge(
                data,
                storage.open(device),
                device.feed,
                device.id,
                self._nonce,
                self._counters,
                agent.now(),
            )
        except verify.Refusal as refusal:
            self._refuse(refusal)
            return None
        problem = self._keep([cti, opcode], kids, cti)
        if problem:
            self._alarm("storage", problem, cti)
            self._answer({1: cti, 2: REFUSED, 4: shorten("storage: " + problem)})
            return None
        self._strangers = self._starved = 0
        if self.signed_at and not reads_only:  # it is kept: who may only look says nothing of time
            self.signed_at(signed)
        return cti, opcode, arguments, reads_only

    def _refuse(self, refusal):
        cti, detail = refusal.cti, refusal.detail
        self._alarm(refusal.reason, detail, cti)
        if refusal.kids:
            self._keep(None, refusal.kids, cti)
            self._answer({1: cti, 2: REFUSED, 4: shorten(refusal.reason + ": " + detail)})
            return
        self._starve(refusal.reason)
        now = self.agent.uptime.seconds()
        if now - self._strangers_since > _PAUSE_S:
            self._strangers_since, self._strangers = now, 0
        self._strangers += 1
        if self._strangers >= _STRANGERS:
            self._strangers = 0
            self._closed_until = now + _PAUSE_S
            self._say_paused("strangers", "%d messages were no good commands" % _STRANGERS)

    def _starve(self, reason):
        """A board that leaks can neither be asked nor updated in the end: it starts anew."""
        self._starved = self._starved + 1 if reason == "memory" else 0
        if self._starved >= _STARVED:
            self._starved = 0
            console.error("%d commands found no memory; reset", _STARVED)
            self.agent.give_up("memory", "commands")

    def _keep(self, carried_out, kids=(), cti=b""):
        """Puts the counters and what is being carried out on the file system; what is wrong, or
        None.
        """
        counters = self._counters
        for kid in kids:
            counters[kid] = int.from_bytes(cti, "big")
        if carried_out:
            counters[_CARRIED_OUT] = carried_out
        else:
            counters.pop(_CARRIED_OUT, None)
        try:
            self.agent.state.store(COUNTERS, counters)
        except OSError as error:
            counters.pop(_CARRIED_OUT, None)
            return "the counter could not be kept: %r" % error
        return None

    def _say_interrupted(self):
        """Answers for the command that the last boot ended in."""
        found = self._counters.get(_CARRIED_OUT)
        if found:
            why = (
                "interrupted by a reset (%s) before it was answered" % self.agent.boot.reset_cause
            )
            console.info("command %s was %s", found[1], why)
            self._answer({1: found[0], 2: FAILED, 4: why})
            self._keep(None)

    async def _deliver(self, end, beat):
        """Has the answer acknowledged, or kept for later where that is not to be had."""
        payload = cbor.dumps(end)
        for _ in range(_PUBLISH_TIMES if len(payload) > _KEPT_SIZE else 1):
            try:
                beat()
                await self.agent.link.publish("result", payload, 1, False, _PUBLISH_S)
                return
            except (LinkError, MemoryError) as error:
                console.debug("result: %r", error)
                await beat.sleep(1)
        if len(payload) > _KEPT_SIZE:
            end.pop(3, None)
            end[4] = "its answer of %d bytes could not be sent" % len(payload)
        self._answer(end)
        self.agent.outbox.save()

    def _answer(self, message):
        self.agent.outbox.add("result", cbor.dumps(message))

    def _say_paused(self, reason, detail):
        self.agent.alarms.raise_(
            alarms.COMMANDS_PAUSED, reason, "%s; the next in %d s" % (detail, _PAUSE_S)
        )

    def _alarm(self, reason, detail, cti=None):
        self.agent.alarms.raise_(alarms.COMMAND_REFUSED, reason, detail, cti)


def _tell_shadowed():
    with ondemand.modules:
        from gate.commands import catalog

        for name in offered:
            if name in catalog.TABLE:
                console.error("opcode %s is the catalog's; the application's is not used", name)


def _counters(state):
    """What is kept, as far as it is ours."""
    kept = state.load(COUNTERS)
    counters = {}
    if isinstance(kept, dict):
        for kid, value in kept.items():
            if isinstance(kid, bytes) and isinstance(value, int):
                counters[kid] = value
        found = kept.get(_CARRIED_OUT)
        if isinstance(found, list) and len(found) == 2 and isinstance(found[0], bytes):
            counters[_CARRIED_OUT] = found
    return counters
