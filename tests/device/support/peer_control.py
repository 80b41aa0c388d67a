"""The control port of a script's services: it steers the peers that the script meets (../services)."""

import socket

from check import equal, settings

HOST = settings.get("host")


def control(line):
    """One order to the host's side of the test; returns its answer."""
    link = socket.socket()
    try:
        link.connect(socket.getaddrinfo(HOST, int(settings["control"]))[0][-1])
        link.send(line.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            part = link.recv(256)
            if not part:
                break
            answer += part
    finally:
        link.close()
    verdict, _, text = answer.decode().strip().partition(" ")
    equal(verdict, "ok", "control's answer to %r: %r" % (line, text))
    return text
