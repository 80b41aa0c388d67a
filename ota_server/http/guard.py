"""What a connection may take before anybody knows whose it is: waitress's channels with deadlines and bounds.

waitress reads headers and bodies without a deadline, stops accepting when its connections are used up, and keeps whole
bodies before the application sees a token. So here a header has seconds, a body a least rate, an address a number of
connections, whose oldest idle one makes room for the next. A body of more than a few KiB needs a valid token before it
is read, and all bodies together have a bound.
"""

from __future__ import annotations

import functools
import json
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge

from ota_server.log_lines import Seldom
from ota_server.peer_key import peer_key
from tidegate.enrolment import MAX_REQUEST

log = logging.getLogger("tidegate.http")

MAX_CONNECTIONS = 1000
MAX_OF_ADDRESS = 250  # a site's boards behind one address, all fetching
HEAD_S = 15  # for a whole header, from its first byte; of a new connection from its beginning
BODY_GRACE_S = 15  # after this a body must have come at
BODY_RATE = 1024  # bytes a second
UNREAD_S = 3  # an answer that the client does not read for so long makes room, too
MAX_BLANKS = 8  # blank lines before a request: RFC 9112, 2.2 asks for one
LINGER_S = 30  # how long a refused body is read and dropped, so that the client sees why
SMALL_BODY = 16 * 1024  # bytes that anybody may send: an enrolment has less than one KiB
ENROLMENT = "/api/v1/enrol"  # knows no token: a board shows its claim there
SMALL_BODIES = 8 << 20  # of those without a token, together
BODIES = 64 << 20  # of all others, together
OF_HOLDER = BODIES // 2  # of one token

Holder = Callable[[str], object | None]  # whose API token this is, None if it is not valid


class Refused(Error):
    """A problem document for a request that the application does not see."""

    def __init__(self, status: int, reason: str, kind: str, detail: str, remedy: str, **fields: str) -> None:
        super().__init__(detail)
        self.code, self.reason = status, reason
        self._fields = [(name.replace("_", "-"), value) for name, value in fields.items()]
        about = {"type": f"about:tidegate/{kind}", "title": reason, "status": status, "detail": detail}
        self._document = json.dumps({**about, "remedy": remedy}).encode() + b"\n"

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        fields = [("Content-Type", "application/problem+json"), *self._fields]
        return f"{self.code} {self.reason}", fields, self._document


def _needs_token() -> Refused:
    return Refused(
        401,
        "Unauthorized",
        "unauthorised",
        f"a body of more than {SMALL_BODY} bytes needs an API token",
        "Send the header Authorization: Bearer TOKEN; make one with: tidegate token new",
        WWW_Authenticate='Bearer realm="tidegate"',
    )


def _no_enrolment() -> Refused:
    """As the application says it of bodies that it sees: a token would not help."""
    what = f"the enrolment request must have at most {MAX_REQUEST} bytes"
    return Refused(422, "Unprocessable Entity", "malformed", what, "Are board and server of one version?")


def _busy(why: str) -> Refused:
    return Refused(503, "Service Unavailable", "busy", why, "Send it again in a few seconds", Retry_After="5")


class Request(HTTPRequestParser):
    """One request. Its body is read only once it is known that it may be sent."""

    headers_finished: bool
    empty: bool

    def __init__(self, channel: Channel, adj: Any) -> None:
        super().__init__(adj)
        self.began = time.monotonic()
        self.body_began = 0.0
        self._channel = channel
        self._limit = 0
        channel.holder, channel.held = None, 0

    def received(self, data: bytes) -> int:
        before = self.headers_finished
        try:
            consumed: int = super().received(data)
        except ValueError:  # waitress lets through what int() and urlsplit() say: a length of 5000 digits, http://[
            self.headers_finished = True
            self._refuse(BadRequest("a length or an address in the header cannot be read"))
        if self.empty and not self.error:
            self._channel.blanks += 1
            if self._channel.blanks > MAX_BLANKS:
                self.empty = False
                self._refuse(BadRequest("nothing but blank lines"))
        elif self.headers_finished and not before:
            self._channel.blanks = 0
            if self.body_rcv is None:  # RFC 9110, 10.1.1: there is nothing to go on with, and waitress would wait
                self.expect_continue = False
            if not self.error and "," in self.headers.get("HOST", ""):  # RFC 9112, 3.2; waitress joins them
                self._refuse(BadRequest("more than one Host"))
        if self.headers_finished and not before and not self.error and self.body_rcv is not None:
            self._body_follows()
        elif before and self._limit and self.body_bytes_received > self._limit and not self.error:  # chunked
            self._refuse(RequestEntityTooLarge(f"exceeds {self._limit} bytes"))
        if self.error:
            self.expect_continue = False
            self._channel.refused = True
            return len(data)  # the connection ends with this answer
        return consumed

    def _body_follows(self) -> None:
        self.body_began = time.monotonic()
        kind, _, value = self.headers.get("AUTHORIZATION", "").partition(" ")
        try:
            holder = self._channel.guard.holder(value.strip()) if kind.lower() == "bearer" else None
        except Exception as error:  # the database's trouble; this thread serves everybody
            if self._channel.guard.seldom():
                log.warning("a token could not be looked up (%s)", type(error).__name__)
            self._refuse(_busy("the database cannot be read"))
            return
        most = self.adj.max_request_body_size
        size = most if self.chunked else self.content_length
        if holder is None:
            if self.chunked:
                size = self._limit = SMALL_BODY
            if size > SMALL_BODY:
                self._refuse(_no_enrolment() if self.path == ENROLMENT else _needs_token())
                return
        if not self._channel.guard.has_room(holder, size):
            self._refuse(_busy("other requests' bodies take all memory that there is for them"))
            return
        self._channel.holder, self._channel.held = holder, size

    def _refuse(self, error: Error) -> None:
        self.error, self.completed = error, True


class Channel(HTTPChannel):
    """One connection."""

    def __init__(self, guard: Guard, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:
        self.guard = guard
        self.holder: object | None = None
        self.held = 0  # bytes of memory that its request's body may take
        self.refused = False
        self.blanks = 0  # blank lines since its last request
        self.lingers_until: float | None = None
        self.since = time.monotonic()
        self.preamble = b"" if server.family == socket.AF_UNIX else None
        self.heard = False
        self.key = ""
        super().__init__(server, sock, addr, adj, map=map)
        self.parser_class = functools.partial(Request, self)
        if self.preamble is None:
            self._known(addr)

    def received(self, data: bytes) -> bool:
        if self.preamble is not None:  # the TLS front says first whose connection it is
            self.preamble += data
            line, end, data = self.preamble.partition(b"\n")
            if not end:
                return False
            self.preamble = None
            host, _, port = line.decode("ascii", "replace").rpartition(" ")
            self._known((host, int(port) if port.isdigit() else 0))
            if self.will_close:
                return False
        self.heard = self.heard or bool(data)
        return bool(super().received(data))

    def _known(self, addr: Any) -> None:
        self.addr = addr
        self.key = peer_key(str(addr[0]))
        self.guard.admit(self)

    def waits(self) -> bool:
        """Whether the client has sent no whole request that is being answered."""
        return not (self.requests or self.total_outbufs_len or self.close_when_flushed)

    def holds(self) -> int:
        """Bytes of memory that its request's body takes, or may still take."""
        return self.held if self.request is not None or self.requests else 0

    def is_late(self, now: float) -> bool:
        """Whether the client took longer for its header or its body than it may."""
        if self.lingers_until is not None:
            return now > self.lingers_until
        if not self.waits():
            self.since = now
            return False
        request = self.request
        if request is None:
            return not self.heard and now - self.since > HEAD_S  # one that is used again may idle longer
        if not request.headers_finished:
            return now - request.began > HEAD_S
        took = now - request.body_began
        return took > BODY_GRACE_S and request.body_bytes_received < (took - BODY_GRACE_S) * BODY_RATE

    def readable(self) -> bool:
        return self.lingers_until is not None or bool(super().readable())

    def writable(self) -> bool:
        return self.lingers_until is None and bool(super().writable())

    def handle_read(self) -> None:
        if self.lingers_until is None:
            super().handle_read()
            return
        try:
            self.recv(65536)  # closes at the end of the stream
        except OSError:
            self.handle_close()

    def handle_close(self) -> None:
        if self.refused and self.connected and self.lingers_until is None:
            # Closing with bytes unread would reset the connection, and the client would lose the answer.
            self.lingers_until = time.monotonic() + LINGER_S
            self.will_close = False
            try:
                self.socket.shutdown(socket.SHUT_WR)
                return
            except OSError:
                pass
        super().handle_close()

    def end(self) -> None:
        """Close at the next turn of the loop."""
        if self.lingers_until is not None:
            self.handle_close()
        else:
            self.will_close = True

    def del_channel(self, map: Any = None) -> None:
        self.guard.gone(self)
        super().del_channel(map)


class Guard:
    """All connections of the HTTP server, and what they may take together."""

    def __init__(self, holder: Holder, exempt: str | None = None) -> None:
        """exempt: the address of a proxy, behind which everybody is; it has no bound of its own."""
        self.holder = holder
        self.seldom = Seldom()
        self._exempt = peer_key(exempt) if exempt else None
        self._channels: dict[Channel, None] = {}  # oldest first
        self._addresses: Counter[str] = Counter()

    def watch(self, server: Any) -> None:
        """Have a waitress server make channels of ours, and look after them each second."""
        server.channel_class = functools.partial(Channel, self)
        inherited = server.maintenance

        def maintenance(now: float) -> None:
            inherited(now)
            at = time.monotonic()
            for channel in [one for one in server.active_channels.values() if one.is_late(at)]:
                log.info("%s: closed: too slow", channel.addr[0])
                channel.end()

        server.maintenance = maintenance

    def admit(self, channel: Channel) -> None:
        """Count a connection whose address is known; one that waits makes room, or else this one is closed."""
        self._channels[channel] = None
        self._addresses[channel.key] += 1
        if channel.key != self._exempt and self._addresses[channel.key] > MAX_OF_ADDRESS:
            self._make_room(channel, lambda other: other.key == channel.key)
        elif len(self._channels) > MAX_CONNECTIONS:
            busiest = self._addresses.most_common(1)[0][0]
            self._make_room(channel, lambda other: other.key == busiest)

    def gone(self, channel: Channel) -> None:
        if channel in self._channels:
            del self._channels[channel]
            self._addresses[channel.key] -= 1
            if not self._addresses[channel.key]:
                del self._addresses[channel.key]

    def has_room(self, holder: object | None, size: int) -> bool:
        """Whether a body of this size may be read now."""
        if holder is None:
            return size + sum(one.holds() for one in self._channels if one.holder is None) <= SMALL_BODIES
        own = sum(one.holds() for one in self._channels if one.holder == holder)
        return (
            size + own <= OF_HOLDER
            and size + sum(one.holds() for one in self._channels if one.holder is not None) <= BODIES
        )

    def _make_room(self, channel: Channel, among: Callable[[Channel], bool]) -> None:
        others = [one for one in self._channels if one is not channel and among(one) and not one.will_close]
        unread = (one for one in others if not one.requests and time.time() - one.last_activity > UNREAD_S)
        victim = next((one for one in others if one.waits()), None) or next(unread, channel)
        self.gone(victim)
        victim.end()
