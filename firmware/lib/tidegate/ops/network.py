"""Opcodes about the network below the connection."""

import asyncio
import os
import socket
import struct
from errno import EINPROGRESS

import aiotcp

from tidegate.clock import const, sleep_ms, ticks_diff, ticks_ms

_ECHO = const(8)  # ICMP
_ECHO_REPLY = const(0)
_ICMP = const(1)  # of IP
_SIZE = const(32)  # bytes of an echo's data
_REPLY_MS = const(2000)
_ROUND_MS = const(10)
_RAW = const(3)  # SOCK_RAW
_MOST_ADDRESSES = const(8)


def net(call):
    """The board's addresses, as far as it knows them."""
    board = call.agent.boot.board
    answer = {"link": board.link(), "hardware": _hex(board.unique_id())}
    if hasattr(board, "addresses"):
        answer.update(board.addresses())
    return answer


def resolve(call, host):
    """Asks the name server; other tasks wait meanwhile."""
    call.check()
    began = ticks_ms()
    found = _look_up(host, 80)
    addresses = []
    for entry in found[:_MOST_ADDRESSES]:
        address = _numbers(entry)
        if address not in addresses:
            addresses.append(address)
    return {"host": host, "addresses": addresses, "ms": ticks_diff(ticks_ms(), began)}


async def connect(call, host, port, timeout_s):
    """Whether a TCP connection comes about, and in what time."""
    entry = _look_up(host, port)[0]
    address = _numbers(entry)
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
        s.send(b"")  # raises what has become of the attempt
        return {"address": address, "port": port, "ms": ticks_diff(ticks_ms(), began)}
    except asyncio.TimeoutError:
        raise OSError("no answer from %s port %d within %d s" % (address, port, timeout_s))
    except OSError as error:
        raise OSError("%s port %d: %s" % (address, port, _explain(error)))
    finally:
        s.close()


async def ping(call, host, n):
    """n echo requests, one after the other; ms: how long each answer took, None for none."""
    entry = _look_up(host, 0)[0]
    s = _open()
    times = []
    try:
        s.setblocking(False)
        for number in range(n):
            await call.pause()
            times.append(await _echo(s, entry[-1], number))
    finally:
        s.close()
    if not any(ms is not None for ms in times):
        raise OSError("no answer from %s to %d pings" % (_numbers(entry), n))
    return {"address": _numbers(entry), "ms": times}


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
    """A socket for ICMP: a raw one, or the kind that Linux grants to everybody."""
    for kind in (_RAW, socket.SOCK_DGRAM):
        try:
            return socket.socket(socket.AF_INET, kind, _ICMP)
        except OSError:
            pass
    raise OSError("this system lets us send no pings")


def _checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _look_up(host, port):
    if any(byte <= 32 or byte > 126 for byte in host.encode()):
        raise ValueError("host is a name or address in visible ASCII")
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise OSError("%s is not known to the name server (%s)" % (host, _explain(error)))
    if not found:
        raise OSError("%s has no address" % host)
    return found


def _numbers(entry):
    """The address of getaddrinfo's entry in numbers."""
    address = entry[-1]
    if isinstance(address, tuple):
        return address[0]
    # MicroPython's unix port has a struct sockaddr_in
    return ".".join(str(byte) for byte in bytes(address)[4:8])


def _explain(error):
    # lwIP has 104 where others have 111.
    known = {104: "refused", 110: "timed out", 111: "refused", 113: "no route"}
    return known.get(error.errno) or str(error)


def _hex(data):
    return "".join("%02x" % byte for byte in data)
