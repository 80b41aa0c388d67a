"""Carries one accepted command out: looks for its opcode, checks what may be asked and with what,
runs the function within its limits. Imported when a command came, and let go of after it.
"""

import asyncio
import gc

import cbor

from gate import LinkError
from gate.clock import const
from gate.commands import call as commands_call
from gate.commands import catalog, queue, registry
from gate.reporting.reports import shorten

_MOST_ANSWER = const(3072)  # bytes of the message
_NEEDS = const(8192)  # bytes of free heap
_NEEDS_HEAVY = const(20480)


class Carrying:
    """One command on its way. code: of wire.cddl; reason: a word of docs/reports.md, if it is
    refused; why: for people, or None; exhausted: whether it ran out of time, memory or output;
    last: what is to be called once it is answered, or None.
    """

    def __init__(self, agent, dangerous, cti, opcode, arguments, reads_only):
        self._agent = agent
        self._dangerous = dangerous
        self._cti = cti
        self._opcode = opcode
        self._arguments = arguments
        self._reads_only = reads_only
        self._call = None
        self._answer = None
        self.code = queue.DONE
        self.reason = None
        self.why = None
        self.exhausted = False
        self.last = None

    async def run(self, rest_s, beat):
        """Carries it out, or refuses it. rest_s: seconds for which nothing is carried out."""
        found = self._find(rest_s)
        if not found:
            return
        function, _, limit_s, heavy, specs = found
        try:
            arguments = registry.check(specs, self._arguments)
        except ValueError as error:
            self._refuse("arguments", str(error))
            return
        if not self._has_room(heavy):
            return
        self._call = commands_call.Call(self._agent, self._cti, self._opcode, limit_s, beat)
        device = self._agent.device
        if heavy:
            device.heavy = self._opcode
        try:
            await self._run(function, arguments, limit_s)
        finally:
            if heavy:
                device.heavy = None
        await self._send_rest()

    def end(self):
        """The last message about it."""
        message = {1: self._cti, 2: self.code}
        if self._answer:
            message[3] = self._answer
        if self.why:
            message[4] = shorten(self.reason + ": " + self.why if self.reason else self.why)
        if self._call and self._call.sent:
            message[5] = [self._call.sent, False]
        return message

    def _find(self, rest_s):
        """The opcode's entry, if those who signed may ask for it now."""
        found = catalog.find(self._opcode) or queue.offered.get(self._opcode)
        if not found:
            self._refuse("opcode", "%s is not offered here; ask for ops" % self._opcode)
        elif self._reads_only and found[1] != registry.READ:
            self._refuse("role", "%s is not for a diagnose key" % self._opcode)
        elif found[1] == registry.DANGEROUS and not self._dangerous:
            self._refuse("dangerous", 'config.json does not say "dangerous": true')
        elif rest_s > 0:
            self._refuse("exhausted", "after commands that were too much; in %d s again" % rest_s)
        else:
            return found
        return None

    def _has_room(self, heavy):
        """Whether there is memory to begin, and no other heavy work."""
        if heavy and self._agent.device.updating:
            self._refuse("busy", "an update is at work; ask again later")
            return False
        gc.collect()
        needs = _NEEDS_HEAVY if heavy else _NEEDS
        if hasattr(gc, "mem_free") and gc.mem_free() < needs:
            self._refuse("memory", "%d bytes free, %d needed" % (gc.mem_free(), needs))
            return False
        return True

    async def _run(self, function, arguments, limit_s):
        call = self._call
        try:
            answer = function(call, **arguments)
            if hasattr(answer, "send"):  # of an async function
                answer = await asyncio.wait_for(answer, limit_s)
            self._take(answer)
        except (asyncio.TimeoutError, commands_call.TimeLimit):
            self._fail("time: it took longer than %d s" % limit_s, True)
        except commands_call.OutputLimit as error:
            self._fail("output: %s" % error, True)
        except MemoryError as error:
            self._fail("memory: %s" % error, True)
        except asyncio.CancelledError:  # by something of its own; nobody cancels this task
            self._fail("it was cancelled")
        except Exception as error:
            self._fail("%s: %s" % (type(error).__name__, error))

    def _take(self, answer):
        if answer is not None and not isinstance(answer, dict):
            raise TypeError("its answer is no dict but %r" % type(answer))
        size = len(cbor.dumps(answer or {}))
        if size > _MOST_ANSWER:
            raise commands_call.OutputLimit(
                "its answer has %d bytes, at most %d" % (size, _MOST_ANSWER)
            )
        self._answer = answer
        self.last = self._call.last

    async def _send_rest(self):
        """What it wrote and has not been sent."""
        try:
            await self._call.finish()
        except LinkError as error:
            self._fail("the connection was lost while it was answered (%s)" % error)
        except MemoryError:
            self._fail("memory: not enough to send its output", True)

    def _fail(self, why, exhausted=False):
        self.code = queue.FAILED
        self.why = why
        self._answer = None
        self.exhausted = exhausted

    def _refuse(self, reason, why):
        self.code = queue.REFUSED
        self.reason = reason
        self.why = why
