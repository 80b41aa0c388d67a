"""What the function behind an opcode is given beside its arguments: the agent, a way to write long
output, and its limits.
"""

import cbor

from gate import LinkError
from gate.clock import const, sleep_ms, ticks_diff, ticks_ms

RUNNING = const(3)  # the result code of a part, docs/wire.cddl

_MOST_OUTPUT = const(16384)  # bytes of text of one command
_PART = const(1024)  # bytes of text in one message
_PUBLISH_S = const(20)  # for one acknowledgement


class TimeLimit(Exception):
    """The command's time is up."""


class OutputLimit(Exception):
    """The command has written all it may."""


class Call:
    """One command being carried out. agent: gate.agent.Agent, with its public parts; opcode:
    its name; last: what call.after was given, or None.
    """

    def __init__(self, agent, cti, opcode, limit_s, beat):
        self.agent = agent
        self.opcode = opcode
        self.last = None
        self._cti = cti
        self._limit_s = limit_s
        self._began = ticks_ms()
        self._beat = beat
        self._room = _MOST_OUTPUT
        self._parts = []  # bytes each, whole characters
        self._open = bytearray()  # what will be the next one
        self.sent = 0  # parts

    def write(self, text):
        """Puts text (str) out, to be sent in parts; raises OutputLimit when it would be more than
        16 KiB in all, TimeLimit when the command's time is up. It waits in RAM until the next
        `pause`.
        """
        self.check()
        data = text.encode()
        if len(data) > self._room:
            raise OutputLimit("its output is over %d bytes" % _MOST_OUTPUT)
        self._room -= len(data)
        self._open.extend(data)
        while len(self._open) >= _PART:
            self._cut(_PART)

    def check(self):
        """For long work in a plain function, every second or so: feeds the watchdog; raises
        TimeLimit.
        """
        self.agent.device.feed()
        self._beat()
        if ticks_diff(ticks_ms(), self._began) > self._limit_s * 1000:
            raise TimeLimit("it took longer than %d s" % self._limit_s)

    async def pause(self):
        """Lets the other tasks run, and sends the parts that are full; raises TimeLimit."""
        self.check()
        while self._parts:
            try:
                await self._send_part()
            except LinkError:  # they stay, and `finish` tries again
                break
        await sleep_ms(0)
        self.check()

    def after(self, function):
        """function() is called once the answer is out of the command's hands: acknowledged, or
        kept for after a reset.
        """
        self.last = function

    async def finish(self):
        """Sends what is left of the output; raises LinkError."""
        if self._open:
            self._cut(len(self._open))
        while self._parts:
            self._beat()
            await self._send_part()

    async def _send_part(self):
        message = {1: self._cti, 2: RUNNING, 5: [self.sent, True], 6: str(self._parts[0], "utf-8")}
        await self.agent.link.publish("result", cbor.dumps(message), 1, False, _PUBLISH_S)
        self.sent += 1
        self._parts.pop(0)

    def _cut(self, size):
        """The next part: at most so many bytes, no character split."""
        while size < len(self._open) and self._open[size] & 0xC0 == 0x80:
            size -= 1
        self._parts.append(bytes(self._open[:size]))
        self._open = self._open[size:]
