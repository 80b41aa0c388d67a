"""Signed commands: taken from the network, judged (tidegate.acceptance), carried out, answered.

The counter is on the file system before a command is carried out: a reset may lose a command,
never repeat one.
"""

import asyncio

import cbor

from tidegate import alarms, console, ondemand
from tidegate.clock import const
from tidegate.reports import shorten

COUNTERS = "counters"  # {kid: highest counter carried out}

offered = {}  # the application's opcodes (tidegate.opcodes)

_QUEUE = const(4)  # commands that wait; more are refused

DONE = const(0)
FAILED = const(1)
REFUSED = const(2)


class Commands:
    """Takes commands from the network one by one and hands them to handlers."""

    def __init__(self, site, nonce, state, outbox, alarms_, handlers):
        """site: tidegate.site.Site; handlers: {opcode: function(arguments dict) -> answer dict};
        what one raises is a failed command.
        """
        self._site = site
        self._nonce = nonce
        self._state = state
        self._outbox = outbox
        self._alarms = alarms_
        self._handlers = handlers
        self._counters = _counters(state)
        self._queue = []
        self._work = asyncio.Event()
        self.signed_at = None  # function(seconds since 1970), told when a command was signed

    def push(self, data):
        """Takes a command (bytes) from the network. Cheap: called from the MQTT reader."""
        if len(self._queue) >= _QUEUE:
            self._alarms.raise_(
                alarms.COMMAND_REFUSED, "busy", "more than %d commands at once" % _QUEUE
            )
            return
        self._queue.append(data)
        self._work.set()

    async def run(self, beat):
        """The task that carries commands out."""
        while True:
            await beat.wait(self._work)
            while self._queue:
                self.handle(self._queue.pop(0))
                await beat.sleep(0)

    def handle(self, data):
        """Judges and carries out one command; its result or alarm goes to the outbox."""
        with ondemand.modules:
            command = self._accept(data)
        if command is None:
            return
        cti, opcode, arguments = command
        console.info("command %s", opcode)
        try:
            answer = self._handlers[opcode](arguments)
        except Exception as error:
            self._answer(cti, FAILED, why="%s: %s" % (type(error).__name__, error))
            return
        self._answer(cti, DONE, answer=answer)

    def _accept(self, data):
        """(cti, opcode, arguments), its counter used up; None if it is refused, which was said."""
        from tidegate import acceptance

        site = self._site
        try:
            cti, kids, opcode, arguments, signed = acceptance.judge(
                data,
                site.keys(),
                site.feed,
                site.device,
                self._nonce,
                self._counters,
                self._handlers,
            )
        except acceptance.Refusal as refusal:
            return self._refuse(refusal.reason, refusal.detail, refusal.cti, refusal.answer)
        for kid in kids:
            self._counters[kid] = int.from_bytes(cti, "big")
        try:
            self._state.store(COUNTERS, self._counters)
        except OSError as error:
            return self._refuse("storage", "the counter could not be kept: %r" % error, cti, True)
        if self.signed_at:
            self.signed_at(signed)
        return cti, opcode, arguments

    def _refuse(self, reason, detail, cti, answer):
        self._alarms.raise_(alarms.COMMAND_REFUSED, reason, detail, cti)
        if answer:
            self._answer(cti, REFUSED, why=reason + ": " + detail)

    def _answer(self, cti, code, answer=None, why=None):
        message = {1: cti, 2: code}
        if answer:
            message[3] = answer
        if why:
            message[4] = shorten(why)
        self._outbox.add("result", cbor.dumps(message))


def _counters(state):
    kept = state.load(COUNTERS, {})
    return kept if isinstance(kept, dict) else {}
