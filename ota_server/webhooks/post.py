"""One try: a POST to an address that was checked, with an end, whatever the receiver does.

Redirects are not followed and proxies not used: both would lead where nobody checked. Of the answer only the status
counts; its body is not read, so that nothing of what stands behind the address gets into the log.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from typing import NamedTuple

from ota_server.webhooks import addresses
from ota_server.webhooks.addresses import Target
from tidegate.errors import TidegateError

STEP_S = 5.0  # to connect, and between two parts of what is sent and received
WHOLE_S = 15.0  # of a try once it is connected


class Outcome(NamedTuple):
    """status: of the answer, if there was one. why: it was not delivered; None if it was."""

    status: int | None
    why: str | None


def post(url: str, headers: Mapping[str, str], body: bytes, *, private: bool, whole_s: float = WHOLE_S) -> Outcome:
    try:
        target = addresses.parse(url, private=private)
        with _connect(addresses.resolve(target, private=private), target.port) as raw:
            return _exchange(raw, target, headers, body, whole_s)
    except TidegateError as error:
        return Outcome(None, error.message)
    except TimeoutError:
        return Outcome(None, f"no answer within {STEP_S:.0f} s")
    except ssl.SSLCertVerificationError as error:
        return Outcome(None, f"its certificate is not trusted: {error.verify_message}")
    except (OSError, UnicodeError) as error:
        return Outcome(None, str(getattr(error, "strerror", None) or error)[:200])
    except http.client.HTTPException:
        return Outcome(None, "it did not answer in HTTP")


def _connect(found: list[str], port: int) -> socket.socket:
    """The first that answers, of two: a name may stand for many."""
    error: OSError = OSError("the name has no address")
    for address in found[:2]:
        try:
            return socket.create_connection((address, port), STEP_S)
        except OSError as refused:
            error = refused
    raise error


def _exchange(raw: socket.socket, target: Target, headers: Mapping[str, str], body: bytes, whole_s: float) -> Outcome:
    sock = raw
    if not target.local:
        context = ssl.create_default_context()
        sock = context.wrap_socket(raw, server_hostname=target.host, do_handshake_on_connect=False)
    ended = threading.Event()

    def end() -> None:
        ended.set()
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's, which would go on in clear

    timer = threading.Timer(whole_s, end)
    timer.daemon = True
    timer.start()
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = sock
    try:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        host = target.origin.partition("://")[2]
        connection.request("POST", target.path, body, {"Host": host, "Content-Type": "application/json", **headers})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        if ended.is_set():
            return Outcome(None, f"no answer within {whole_s:.0f} s")
        raise
    finally:
        timer.cancel()
        connection.close()
        sock.close()
    return Outcome(status, None if 200 <= status < 300 else f"it answered {status}")
