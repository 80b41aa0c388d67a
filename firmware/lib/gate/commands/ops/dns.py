"""Looks names up without blocking the other tasks: with a dead name server the system's own
resolver blocks for longer than the watchdog waits.

Where the board knows its name server, it is queried over UDP (RFC 1035); on Linux getent is run.
"""

import os
import socket
import struct

from gate.clock import const, sleep_ms, ticks_diff, ticks_ms

_ANSWER_MS = const(2000)
_TIMES = const(2)
_ROUND_MS = const(20)
_MOST = const(8)  # addresses
_CODES = {1: "it does not understand", 2: "it failed", 3: "there is no such name", 5: "it refuses"}


class NameFailure(Exception):
    pass


async def look_up(call, host):
    """Returns ([numeric address], where they came from); raises NameFailure, ValueError."""
    if not host or any(byte <= 32 or byte > 126 for byte in host.encode()) or host[0] == "-":
        raise ValueError("host is a name or address in visible ASCII")
    if _is_numbers(host):
        return [host], "numbers"
    board = call.agent.boot.board
    if hasattr(board, "spawn"):
        return await _query_system(call, board, host), "getent"
    server = board.addresses().get("dns") if hasattr(board, "addresses") else None
    if server:
        return await _query(call, server, host), server
    call.check()
    found = socket.getaddrinfo(host, 0, socket.AF_INET, socket.SOCK_STREAM)
    return [entry[-1][0] for entry in found[:_MOST]], "the system"


def _is_numbers(host):
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)


async def _query_system(call, board, host):
    process = board.spawn("getent", ("ahostsv4", host), 5, 256 << 20)
    said = b""
    try:
        while True:
            data = process.read()
            if data == b"" or len(said) > 2048:
                break
            if data:
                said += data
            await sleep_ms(_ROUND_MS)
            await call.pause()
    finally:
        process.kill()
    addresses = []
    for line in str(said, "utf-8").split("\n"):
        address = line.split(" ")[0]
        if _is_numbers(address) and address not in addresses:
            addresses.append(address)
    if not addresses:
        raise NameFailure("the system knows no address of %s" % host)
    return addresses[:_MOST]


async def _query(call, server, host):
    mark = os.urandom(2)
    question = _question(mark, host)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.setblocking(False)
        address = socket.getaddrinfo(server, 53)[0][-1]
        for _ in range(_TIMES):
            s.sendto(question, address)
            began = ticks_ms()
            while ticks_diff(ticks_ms(), began) < _ANSWER_MS:
                try:
                    data = s.recv(512)
                except OSError:  # nothing yet
                    data = b""
                if data[:2] == mark:
                    return parse(data, len(question), server, host)
                await sleep_ms(_ROUND_MS)
                await call.pause()
    finally:
        s.close()
    raise NameFailure("name server %s does not answer" % server)


def _question(mark, host):
    data = bytearray(mark + struct.pack("!5H", 0x0100, 1, 0, 0, 0))
    for label in host.rstrip(".").split("."):
        if not 0 < len(label) < 64:
            raise ValueError("%s is not a valid name" % host)
        data.append(len(label))
        data.extend(label.encode())
    data.extend(b"\0" + struct.pack("!2H", 1, 1))  # A, IN
    return bytes(data)


def parse(data, at, server, host):
    """The addresses in an answer (bytes) whose records begin at `at`; raises NameFailure."""
    try:
        _, flags, _, records = struct.unpack("!4H", data[:8])
        if not flags & 0x8000 or flags & 15:
            why = _CODES.get(flags & 15, "code %d" % (flags & 15))
            raise NameFailure("name server %s about %s: %s" % (server, host, why))
        found = []
        for _ in range(min(records, 2 * _MOST)):
            while data[at] and data[at] < 0xC0:  # labels
                at += 1 + data[at]
            at += 2 if data[at] else 1  # a pointer, or the root
            kind, _, _, size = struct.unpack("!HHIH", data[at : at + 10])
            at += 10
            if kind == 1 and size == 4:
                address = data[at : at + 4]
                if len(address) == 4:
                    found.append(".".join(str(byte) for byte in address))
            at += size
    except NameFailure:
        raise
    except Exception as error:  # CPython's struct has an exception of its own
        raise NameFailure("name server %s sent a malformed answer (%s)" % (server, error))
    if not found:
        raise NameFailure("name server %s knows no address of %s" % (server, host))
    return found[:_MOST]
