"""The serial line as a network, with the host's real end of it (tidegate/link) behind a TCP port."""

import asyncio
import os

import aiotcp
from check import equal, network, settings, true
from gate.link import usb, usb_frames
from gate.link.usb_frames import Lines

SERVICES = "usb_line.lines"
GROUNDS = ("cpython", "unix", "cortex-m3")
TIMEOUT_S = 300

HERE = "127.0.0.1"  # as the host sees it
ECHO = int(settings.get("echo", 0))
MANY = bytes(number * 7 & 0xFF for number in range(2500))


class Wire:
    """A serial line to one of the service's ports."""

    def __init__(self, stream):
        self._stream = stream
        self._lines = Lines()
        self._waiting = []
        self._work = asyncio.Event()
        self._buf = bytearray(100)
        self._found = []
        self.mute = False

    def send(self, frame):
        if not self.mute:
            self._waiting.append(b"a line\r\n" + frame)
            self._work.set()

    async def receive(self):
        while not self._found:
            size = await self._stream.readinto(self._buf)
            true(size, "bytes of the line")
            for byte in self._buf[:size]:
                frame = self._lines.feed(byte)
                if frame and not self.mute:
                    self._found.append(frame)
        return self._found.pop(0)

    async def write(self):
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                await self._stream.write(self._waiting.pop(0))


def linked(kind, job):
    """Runs job(line, wire) with a linked line of this kind."""

    async def main():
        stream = await aiotcp.connect(settings["host"], int(settings[kind]), 10_000)
        wire = Wire(stream)
        line = usb.Line(wire, os.urandom)
        writing = asyncio.create_task(wire.write())
        try:
            line.start()
            await until(line.linked)
            await job(line, wire)
        finally:
            line._task.cancel()
            writing.cancel()
            await aiotcp.sleep_ms(10)
            await stream.close()

    network()
    asyncio.run(main())


async def until(check):
    for _ in range(3000):
        if check():
            return
        await aiotcp.sleep_ms(20)
    raise AssertionError("it did not happen within a minute")


async def read(stream, size):
    got = b""
    buf = bytearray(300)
    while len(got) < size:
        count = await stream.readinto(buf)
        true(count, "bytes read before the end")
        got += buf[:count]
    return got


async def exchange(line, data):
    stream = await line.connect(HERE, ECHO, 20_000)
    got, _ = await asyncio.gather(read(stream, len(data)), stream.write(data))
    await stream.close()
    equal(bytes(got), data)


def test_bytes_come_back():
    async def job(line, wire):
        await exchange(line, MANY)
        await until(lambda: not line._sockets)

    linked("good", job)


def test_bytes_that_were_lost_or_garbled_come_again():
    async def job(line, wire):
        await exchange(line, MANY)

    linked("lossy", job)


def test_a_host_that_begins_anew_ends_connections_and_takes_new_ones():
    async def job(line, wire):
        first = line._session
        try:
            await exchange(line, MANY * 4)
        except OSError as error:
            true("anew" in str(error) or "closed" in str(error), error)
        else:
            raise AssertionError("the connection outlived its host")
        await until(lambda: line._session != first and line.linked())
        await exchange(line, MANY[:100])

    linked("anew", job)


def test_the_end_is_seen():
    async def job(line, wire):
        stream = await line.connect(HERE, ECHO, 20_000)
        await stream.write(b"end")
        equal(await stream.readinto(bytearray(10)), 0)
        await until(lambda: not line._sockets)

    linked("good", job)


def test_what_is_refused_says_why():
    async def job(line, wire):
        for host, port, why in ((HERE, 2, "does not allow"), (HERE, 1, "refused")):
            try:
                await line.connect(host, port, 20_000)
            except OSError as error:
                true(why in str(error).lower(), error)
            else:
                raise AssertionError("%s:%d was connected" % (host, port))
        equal(line._sockets, {})

    linked("good", job)


def test_one_that_nobody_reads_holds_up_no_other_and_there_are_four():
    async def job(line, wire):
        slow = await line.connect(HERE, ECHO, 20_000)
        await slow.write(MANY[:600])
        await exchange(line, MANY[:600])
        others = []
        for _ in range(3):  # MicroPython awaits in no comprehension
            others.append(await line.connect(HERE, ECHO, 20_000))
        try:
            await line.connect(HERE, ECHO, 20_000)
        except OSError as error:
            true("too many" in str(error), error)
        else:
            raise AssertionError("there is room for a fifth")
        equal(await read(slow, 600), MANY[:600])
        for stream in [slow] + others:
            await stream.close()

    linked("good", job)


def test_a_host_that_is_silent_is_away_and_comes_back():
    async def job(line, wire):
        stream = await line.connect(HERE, ECHO, 20_000)
        wire.mute = True
        line._unanswered = usb._LOST - 1 if hasattr(usb, "_LOST") else 5
        await until(lambda: not line.linked())
        try:
            await stream.readinto(bytearray(1))
        except OSError as error:
            true("away" in str(error), error)
        try:
            await line.connect(HERE, ECHO, 1000)
        except OSError as error:
            true("nobody answers" in str(error), error)
        wire.mute = False
        await until(line.linked)
        await exchange(line, MANY[:50])

    linked("good", job)


def test_only_whole_frames_count():
    whole = usb_frames.pack(usb_frames.DATA, 513, 3, 4, b"payload")
    found = (usb_frames.DATA, 513, 3, 4, b"payload")
    equal(fed(whole), [found])
    equal(fed(b"text\x1e" + whole[:9] + whole + b"\n\r\n" + whole), [found, found])
    for at in range(1, len(whole) - 1):
        equal(fed(whole[:at] + whole[at + 1 :]), [])
        equal(fed(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] + whole[:0]), [])
    equal(fed(b"\x1e" + b"A" * 5000 + b"\n" + whole), [found])
    equal(fed(usb_frames.pack(usb_frames.DATA, 1, 1, 0, bytes(usb_frames.MOST + 1))), [])
    equal(len(fed(usb_frames.pack(usb_frames.DATA, 1, 1, 0, bytes(usb_frames.MOST)))), 1)


def fed(data):
    lines = Lines()
    return [frame for frame in [lines.feed(byte) for byte in data] if frame]
