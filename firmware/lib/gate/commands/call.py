"""The first argument of every opcode's function: gives it the agent, writes its output and
enforces its limits. A function may use the public parts of Call and of gate.agent.Agent.
"""

import cbor

from gate import LinkError
from gate.clock import const, sleep_ms, ticks_diff, ticks_ms

# keys of a result, docs/wire.cddl
_CTI = const(1)
_CODE = const(2)
_PARTS = const(5)
_TEXT = const(6)

_RUNNING = const(3)  # result code of a part

_MOST_OUTPUT = const(16384)  # bytes of text of one command
_PART = const(1024)  # bytes of text in one message
_PUBLISH_S = const(20)  # for one acknowledgement


class TimeLimit(Exception):
    """The command exceeded its time limit."""


class OutputLimit(Exception):
    """The command exceeded its output limit."""


class Call:
    """One running command. agent: gate.agent.Agent, with its public parts; opcode: its name; last:
    the function given to call.after, or None; sent: parts of output sent so far; written: a hash
    over the output, or None.
    """

    def __init__(self, agent, cti, opcode, limit_s, beat):
        self.agent = agent
        self.opcode = opcode
        self.last = None
        self.written = None
        self._cti = cti
        self._limit_s = limit_s
        self._began = ticks_ms()
        self._beat = beat
        self._room = _MOST_OUTPUT
        self._parts = []  # bytes each, whole characters
        self._open = bytearray()  # what will be the next one
        self.sent = 0

    def write(self, text):
        """Adds text (str) to the output, which waits in RAM until the next `pause` sends it in
        parts. Raises OutputLimit beyond 16 KiB in all, TimeLimit when the command's time is up.
        """
        self.check()
        data = text.encode()
        if len(data) > self._room:
            raise OutputLimit("its output is over %d bytes" % _MOST_OUTPUT)
        self._room -= len(data)
        if self.written:
            self.written.update(data)
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
        """Lets the other tasks run and sends the full parts; raises TimeLimit."""
        self.check()
        while self._parts:
            try:
                await self._send_part()
            except LinkError:  # the parts stay, and `finish` tries again
                break
        await sleep_ms(0)
        self.check()

    def after(self, function):
        """Has function() called once the answer is acknowledged, or stored to be sent after a
        reset.
        """
        self.last = function

    async def finish(self):
        """Sends the rest of the output; raises LinkError."""
        if self._open:
            self._cut(len(self._open))
        while self._parts:
            self._beat()
            await self._send_part()

    async def _send_part(self):
        message = {
            _CTI: self._cti,
            _CODE: _RUNNING,
            _PARTS: [self.sent, True],
            _TEXT: str(self._parts[0], "utf-8"),
        }
        await self.agent.link.publish("result", cbor.dumps(message), 1, False, _PUBLISH_S)
        self.sent += 1
        self._parts.pop(0)

    def _cut(self, size):
        """Cuts off the next part: at most `size` bytes, without splitting a character."""
        while size < len(self._open) and self._open[size] & 0xC0 == 0x80:
            size -= 1
        self._parts.append(bytes(self._open[:size]))
        self._open = self._open[size:]
