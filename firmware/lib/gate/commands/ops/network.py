"""Opcodes about the network below the connection."""

import asyncio
import os
import socket
import struct
from errno import EINPROGRESS

import aiotcp

from gate.clock import const, sleep_ms, ticks_diff, ticks_ms
from gate.commands.ops.dns import look_up

_ECHO = const(8)  # ICMP
_ECHO_REPLY = const(0)
_ICMP = const(1)  # of IP
_SIZE = const(32)  # bytes of an echo's data
_REPLY_MS = const(2000)
_ROUND_MS = const(10)
_RAW = const(3)  # SOCK_RAW


def net(call):
    """The board's addresses, as far as it knows them."""
    board = call.agent.boot.board
    answer = {"link": board.link(), "hardware": board.unique_id().hex()}
    if hasattr(board, "addresses"):
        answer.update(board.addresses())
    return answer


async def resolve(call, host):
    """The addresses of a name, where they came from, and how long it took."""
    began = ticks_ms()
    addresses, server = await look_up(call, host)
    return {
        "host": host,
        "addresses": addresses,
        "server": server,
        "ms": ticks_diff(ticks_ms(), began),
    }


async def connect(call, host, port, timeout_s):
    """Opens a TCP connection and measures the time; raises OSError if it fails."""
    address = (await look_up(call, host))[0][0]
    entry = socket.getaddrinfo(address, port, socket.AF_INET, socket.SOCK_STREAM)[0]
    began = ticks_ms()
    s = aiotcp.socket.socket(entry[0], entry[1], entry[2])
    try:
        s.setblocking(False)
        try:
            s.connect(entry[-1])
        except OSError as error:
            if error.errno != EINPROGRESS:
                raise
        await aiotcp.within(timeout_s * 1000, aiotcp.writable(s))
        s.send(b"")  # raises the error of a failed attempt
        return {"address": address, "port": port, "ms": ticks_diff(ticks_ms(), began)}
    except asyncio.TimeoutError:
        raise OSError("no answer from %s port %d within %d s" % (address, port, timeout_s))
    except OSError as error:
        raise OSError("%s port %d: %s" % (address, port, _explain(error)))
    finally:
        s.close()


async def ping(call, host, n):
    """Sends n echo requests, one after the other. ms: how long each answer took, None without
    an answer.
    """
    address = (await look_up(call, host))[0][0]
    place = socket.getaddrinfo(address, 0, socket.AF_INET, socket.SOCK_STREAM)[0][-1]
    s = _open()
    times = []
    try:
        s.setblocking(False)
        for number in range(n):
            await call.pause()
            times.append(await _echo(s, place, number))
    finally:
        s.close()
    if not any(ms is not None for ms in times):
        raise OSError("no answer from %s to %d pings" % (address, n))
    return {"address": address, "ms": times}


async def _echo(s, address, number):
    mark = os.urandom(4)
    body = mark + bytes(_SIZE - len(mark))
    head = struct.pack("!BBHHH", _ECHO, 0, 0, 0x7469, number)
    packet = struct.pack("!BBHHH", _ECHO, 0, _checksum(head + body), 0x7469, number) + body
    began = ticks_ms()
    s.sendto(packet, address)
    while ticks_diff(ticks_ms(), began) < _REPLY_MS:
        try:
            data = s.recv(128)
        except OSError:  # nothing yet
            data = None
        if data and mark in data:
            at = (data[0] & 15) * 4 if data[0] >> 4 == 4 else 0  # a raw socket shows the IP header
            if data[at] == _ECHO_REPLY:
                return ticks_diff(ticks_ms(), began)
        await sleep_ms(_ROUND_MS)
    return None


def _open():
    """A socket for ICMP: a raw one, or the kind that Linux allows everyone."""
    # Without raw sockets lwIP takes the other kind for UDP.
    for kind in (_RAW, socket.SOCK_DGRAM) if hasattr(socket, "SOCK_RAW") else ():
        try:
            return socket.socket(socket.AF_INET, kind, _ICMP)
        except OSError:
            pass
    raise OSError("this system does not allow sending pings")


def _checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _explain(error):
    # lwIP has 104 where others have 111.
    known = {104: "refused", 110: "timed out", 111: "refused", 113: "no route"}
    return known.get(error.errno) or str(error)
