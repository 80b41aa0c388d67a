"""Executes one verified command: finds its opcode, checks permission and arguments, runs the
function within its limits. Imported when a command arrives, and released after it.
"""

import asyncio
import gc
from hashlib import sha256

import cbor

from gate import LinkError, commands, console
from gate.clock import const
from gate.commands import application_opcodes, builtin_opcodes
from gate.commands import call as commands_call
from gate.reporting.reports import shorten

# keys of a result, docs/wire.cddl
_CTI = const(1)
_CODE = const(2)
_ANSWER = const(3)
_WHY = const(4)
_PARTS = const(5)
_PROOF = const(7)

_MOST_ANSWER = const(3072)  # bytes of the message
_NEEDS = const(8192)  # bytes of free heap
_NEEDS_HEAVY = const(20480)


class Execution:
    """The execution of one command. code: result-code of wire.cddl; reason: a word of
    docs/reports.md if it was refused; why: for people, or None; exhausted: whether it ran out of
    time, memory or output; last: function to call after it was answered, or None.
    """

    def __init__(self, agent, device, dangerous, cti, opcode, arguments, reads_only, digest):
        """agent: for the opcode's function, as call.agent; device: gate.device.Device; dangerous:
        whether opcodes of that role are offered; reads_only: whether only diagnose keys signed;
        digest: of the command, if the board is to sign the result, or None.
        """
        self._agent = agent
        self._device = device
        self._dangerous = dangerous
        self._cti = cti
        self._opcode = opcode
        self._arguments = arguments
        self._reads_only = reads_only
        self._call = None
        self._answer = None
        self._digest = digest
        self._written = sha256() if digest else None
        self.code = commands.DONE
        self.reason = None
        self.why = None
        self.exhausted = False
        self.last = None

    async def run(self, rest_s, beat):
        """Executes or refuses it. rest_s: seconds that execution is paused for."""
        entry = self._find(rest_s)
        if not entry:
            return
        try:
            arguments = application_opcodes.check(entry.arguments, self._arguments)
        except ValueError as error:
            self._refuse("arguments", str(error))
            return
        if not self._has_room(entry.heavy):
            return
        self._call = commands_call.Call(self._agent, self._cti, self._opcode, entry.limit_s, beat)
        self._call.written = self._written
        if entry.heavy:
            self._device.heavy = self._opcode
        try:
            await self._run(entry, arguments)
        finally:
            if entry.heavy:
                self._device.heavy = None
        await self._send_rest()

    def end(self):
        """The result to send, a map."""
        message = {_CTI: self._cti, _CODE: self.code}
        if self._answer:
            message[_ANSWER] = self._answer
        if self.why:
            message[_WHY] = shorten(self.reason + ": " + self.why if self.reason else self.why)
        if self._call and self._call.sent:
            message[_PARTS] = [self._call.sent, False]
        return message

    def signed_end(self, nonce):
        """The result to send, with the board's signature if that is wanted, and there are a key
        and the memory for it. nonce: of this boot.
        """
        message = self.end()
        if not self._digest:
            return message
        output = self._written.digest() if _PARTS in message else None
        try:
            from gate import proof

            made = proof.result(self._device, nonce, self._digest, message, output)
        except Exception as error:  # the answer counts without it
            console.error("the result could not be signed: %r", error)
            made = None
        if made:
            message[_PROOF] = made
        return message

    def _find(self, rest_s):
        """The Opcode, if its signers may call it now; else refuses and returns None."""
        try:
            entry = builtin_opcodes.find(self._opcode) or commands.offered.get(self._opcode)
        except ImportError:
            if builtin_opcodes.is_here(self._opcode):
                raise
            self._refuse("opcode", "%s is not in this image; send ops for a list" % self._opcode)
            return None
        if not entry:
            self._refuse("opcode", "%s is not offered here; send ops for a list" % self._opcode)
        elif self._reads_only and entry.role != application_opcodes.READ:
            self._refuse("role", "%s needs a command key, not a diagnose key" % self._opcode)
        elif entry.role == application_opcodes.DANGEROUS and not self._dangerous:
            self._refuse("dangerous", 'config.json does not say "dangerous": true')
        elif rest_s > 0:
            self._refuse(
                "exhausted", "earlier commands took too much; send it again in %d s" % rest_s
            )
        else:
            return entry
        return None

    def _has_room(self, heavy):
        """Whether there is enough memory, and no update beside a heavy command; else refuses."""
        if heavy and self._device.updating:
            self._refuse("busy", "an update is running; send it again later")
            return False
        gc.collect()
        needs = _NEEDS_HEAVY if heavy else _NEEDS
        if hasattr(gc, "mem_free") and gc.mem_free() < needs:
            self._refuse("memory", "%d bytes free, %d needed" % (gc.mem_free(), needs))
            return False
        return True

    async def _run(self, entry, arguments):
        call = self._call
        try:
            answer = entry.function(call, **arguments)
            if hasattr(answer, "send"):  # of an async function
                answer = await asyncio.wait_for(answer, entry.limit_s)
            self._take(answer)
        except (asyncio.TimeoutError, commands_call.TimeLimit):
            self._fail("time: it took longer than %d s" % entry.limit_s, True)
        except commands_call.OutputLimit as error:
            self._fail("output: %s" % error, True)
        except MemoryError as error:
            self._fail("memory: %s" % error, True)
        except asyncio.CancelledError:  # by its own doing; nothing else cancels this task
            self._fail("it was cancelled")
        except Exception as error:
            self._fail("%s: %s" % (type(error).__name__, error))

    def _take(self, answer):
        if answer is not None and not isinstance(answer, dict):
            raise TypeError("its answer is not a dict but %r" % type(answer))
        size = len(cbor.dumps(answer or {}))
        if size > _MOST_ANSWER:
            raise commands_call.OutputLimit(
                "its answer has %d bytes, at most %d" % (size, _MOST_ANSWER)
            )
        self._answer = answer
        self.last = self._call.last

    async def _send_rest(self):
        """Sends the output that has not been sent."""
        try:
            await self._call.finish()
        except LinkError as error:
            self._fail("the connection was lost while it was answered (%s)" % error)
        except MemoryError:
            self._fail("memory: not enough to send its output", True)

    def _fail(self, why, exhausted=False):
        self.code = commands.FAILED
        self.why = why
        self._answer = None
        self.exhausted = exhausted

    def _refuse(self, reason, why):
        self.code = commands.REFUSED
        self.reason = reason
        self.why = why
