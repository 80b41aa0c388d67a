"""One TCP connection: from CONNECT to the last will."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from typing import Protocol

from ota_server.broker import codec
from ota_server.broker.access import Access, Principal
from ota_server.broker.codec import Connect, Malformed, Message
from ota_server.broker.handover import Handover
from ota_server.broker.session import MAX_QOS2, MAX_SUBSCRIPTIONS, Session
from ota_server.broker.topics import valid_filter, valid_name

log = logging.getLogger("tidegate.broker")

CONNECT_TIMEOUT_S = 10
WRITE_TIMEOUT_S = 30  # a peer that reads nothing for so long is gone
REFUSAL_DELAY_S = 0.3  # slows down guessing; a right password never waits
MAX_PACKET = 16 * 1024
MAX_CLIENT_ID = 64
# Packets that a filter in a SUBSCRIBE or UNSUBSCRIBE counts as; a retained message that it selects counts as one.
FILTER_COST = 0.1
MAX_OWED = 64  # messages of one connection that the server does not have yet; then it is not read
TURN = 16  # packets, read or written, after which the other connections have their turn


class Refusal(Exception):
    """CONNECT is answered with this return code (3.2.2.3), and that is all."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


class Router(Protocol):
    """What a connection needs of the broker that it belongs to."""

    @property
    def access(self) -> Access: ...

    @property
    def dismissals(self) -> int: ...

    @property
    def handover(self) -> Handover | None: ...

    async def adopt(
        self, connection: Connection, hello: Connect, principal: Principal
    ) -> tuple[Session | None, bool]: ...

    def release(self, connection: Connection, session: Session) -> None: ...

    async def route(self, message: Message) -> bool: ...

    async def send_retained(self, session: Session, pattern: str, granted: int) -> int: ...

    def turn(self, address: str) -> asyncio.Semaphore: ...

    def borrow(self, user: str, cost: float) -> float: ...

    def warn(self, key: str, text: str, *args: object) -> None: ...


class _Owed:
    """An acknowledgement, and whether it may be sent: the ones before it go first (4.6)."""

    __slots__ = ("is_due", "packet")

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.is_due = False


class Connection:
    """Reads one client's packets, answers them, and pumps its session's queue out."""

    def __init__(self, broker: Router, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.session: Session | None = None
        self.closed = asyncio.Event()
        self._broker = broker
        self._reader = reader
        self._writer = writer
        self._will: Message | None = None
        self._owed: deque[_Owed] = deque()
        self._owes_less = asyncio.Event()
        self._aborted = asyncio.Event()
        self._read_timeout: float | None = CONNECT_TIMEOUT_S
        self.stranger = True  # has not logged in
        peer = writer.get_extra_info("peername")
        self.address = str(peer[0]) if peer else "?"
        self.peer = f"{peer[0]}:{peer[1]}" if peer else "?"

    async def run(self) -> None:
        """Serve until the peer leaves or breaks the protocol; publishes its will unless it said goodbye."""
        pump: asyncio.Task[None] | None = None
        try:
            self.session = await self._login()
            pump = asyncio.create_task(self._pump(self.session))
            await self._serve(self.session)
        except Refusal as refusal:
            await self._refuse(refusal)
        except Malformed as error:
            self._warn("%s: closed: %s", self._who(), error)
        except TimeoutError:
            log.info("%s: closed: silent for too long", self._who())
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            log.debug("%s: connection lost", self._who())
        finally:
            if pump is not None:
                pump.cancel()
                await asyncio.gather(pump, return_exceptions=True)
            await self._goodbye()

    def close(self) -> None:
        """End this connection from outside; `closed` is set once its will is out."""
        self._aborted.set()
        self._owes_less.set()
        self._writer.transport.abort()

    async def _login(self) -> Session:
        kind, _, body = await self._read()
        if kind != codec.CONNECT:
            raise Malformed("the first packet is not CONNECT")
        hello = codec.connect(body)
        if hello.protocol != ("MQTT", 4):
            raise Refusal(codec.BAD_PROTOCOL, f"speaks {hello.protocol}")
        before = -1
        while before != self._broker.dismissals:  # somebody is being cut off: it may be this one
            before = self._broker.dismissals
            async with self._broker.turn(self.address):
                principal = await asyncio.to_thread(
                    self._broker.access.login, hello.user, hello.password, self._shown()
                )
        if principal is None:
            await asyncio.sleep(REFUSAL_DELAY_S)
            raise Refusal(codec.BAD_LOGIN, "wrong user or password")
        if len(hello.client_id) > MAX_CLIENT_ID or not (hello.client_id or hello.clean):
            raise Refusal(codec.BAD_CLIENT_ID, "unusable client id")
        if hello.will and not (valid_name(hello.will.topic) and principal.may_publish(hello.will.topic)):
            raise Refusal(codec.NOT_AUTHORISED, "last will outside its own topics")
        session, present = await self._broker.adopt(self, hello, principal)
        if session is None:
            raise Refusal(codec.BAD_CLIENT_ID, "client id is the name of another user")
        if before != self._broker.dismissals:  # while it waited for its older connection to end
            raise Refusal(codec.UNAVAILABLE, "logins were changed meanwhile")
        await self._throttle(session, 2 if hello.will else 1)  # a will is a message, too
        self._will = hello.will
        self._read_timeout = hello.keepalive * 1.5 or None  # 3.1.2.10
        self._writer.write(codec.encode_connack(codec.ACCEPTED, present))
        return session

    def _shown(self) -> str | None:
        """The common name of the client's certificate, which TLS has verified; None without one."""
        certificate = self._writer.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        return names[0] if len(names) == 1 else None

    async def _refuse(self, refusal: Refusal) -> None:
        self._warn("%s: refused: %s", self.peer, refusal.why)
        with contextlib.suppress(ConnectionError, OSError, TimeoutError):
            self._writer.write(codec.encode_connack(refusal.code))
            await self._drain()

    async def _serve(self, session: Session) -> None:
        for turn in itertools.count(1):
            kind, flags, body = await self._read()
            await self._throttle(session, 1)
            if turn % TURN == 0:  # reading what has already come never gives others their turn
                await asyncio.sleep(0)
            if kind == codec.PUBLISH:
                await self._publish(session, flags, body)
            elif kind == codec.PUBACK:
                session.acknowledged(body.packet_id())
            elif kind == codec.PUBREL:  # 4.3.3
                number = body.packet_id()
                session.qos2_seen.discard(number)
                self._writer.write(codec.encode_ack(codec.PUBCOMP, number))
            elif kind == codec.SUBSCRIBE:
                await self._subscribe(session, body)
            elif kind == codec.UNSUBSCRIBE:
                number, names = codec.unsubscribe(body)
                await self._throttle(session, len(names) * FILTER_COST)
                for name in names:
                    session.subscriptions.pop(name, None)
                self._writer.write(codec.encode_ack(codec.UNSUBACK, number))
            elif kind == codec.PINGREQ:
                self._writer.write(codec.encode(codec.PINGRESP))
            elif kind == codec.DISCONNECT:
                self._will = None  # 3.14.4
                return
            else:
                raise Malformed(f"unexpected packet of type {kind}")
            await self._drain()

    async def _publish(self, session: Session, flags: int, body: codec.Body) -> None:
        message, number = codec.publish(flags, body)
        if not valid_name(message.topic):
            raise Malformed("published to an unusable topic")
        fresh = message.qos < 2 or number not in session.qos2_seen
        if fresh and message.qos == 2 and len(session.qos2_seen) >= MAX_QOS2:
            raise Malformed(f"more than {MAX_QOS2} messages of QoS 2 are not released")
        allowed = session.principal.may_publish(message.topic)
        if not allowed:
            # 3.1.1 has no negative acknowledgement: the message is acknowledged and goes nowhere, as in other brokers.
            self._warn("%s: may not publish to %s", self._who(), message.topic)
        elif fresh and not await self._broker.route(message):
            return  # without an acknowledgement the publisher knows that the message is still its own
        handover = self._broker.handover if allowed and fresh and not session.principal.internal else None
        if handover is not None:
            await self._wait_for_room(handover)
        if message.qos == 2 and number is not None:
            session.qos2_seen.add(number)
        owed = None
        if number is not None:
            owed = _Owed(codec.encode_ack(codec.PUBREC if message.qos == 2 else codec.PUBACK, number))
            self._owed.append(owed)
        if handover is None:
            self._settle(owed)
        else:
            handover.give(message, bool(flags & 8), lambda: self._settle(owed))

    async def _wait_for_room(self, handover: Handover) -> None:
        """Read no further, so that TCP pushes back on this device, until the server can have one more message of it.

        Raises ConnectionAbortedError if the connection is closed first.
        """
        while len(self._owed) >= MAX_OWED and not self._aborted.is_set():
            self._owes_less.clear()
            await self._owes_less.wait()
        if self._aborted.is_set() or not await handover.room(self._aborted):
            raise ConnectionAbortedError("closed while a message waited")

    def _settle(self, owed: _Owed | None) -> None:
        """Acknowledge a message, after those before it."""
        if owed is None:
            return
        owed.is_due = True
        while self._owed and self._owed[0].is_due:
            packet = self._owed.popleft().packet
            if not self._aborted.is_set() and not self._writer.is_closing():
                self._writer.write(packet)
        self._owes_less.set()

    async def _subscribe(self, session: Session, body: codec.Body) -> None:
        number, filters = codec.subscribe(body)
        codes, new = bytearray(), {}
        for pattern, qos in filters:
            full = len(session.subscriptions) >= MAX_SUBSCRIPTIONS and pattern not in session.subscriptions
            if full or not valid_filter(pattern) or not session.principal.may_subscribe(pattern):
                self._warn("%s: may not subscribe to %s", self._who(), pattern)
                codes.append(codec.SUBSCRIBE_REFUSED)
                continue
            granted = min(qos, 1)  # nothing of ours needs more
            session.subscriptions[pattern] = granted
            codes.append(granted)
            new[pattern] = granted
        self._writer.write(codec.encode_ack(codec.SUBACK, number, bytes(codes)))
        cost = len(filters) * FILTER_COST
        for pattern, granted in new.items():
            cost += await self._broker.send_retained(session, pattern, granted)
        await self._throttle(session, cost)

    async def _pump(self, session: Session) -> None:
        """Write what is for the client while `_serve` reads: a long burst never keeps acknowledgements from it."""
        try:
            while True:
                await session.wake.wait()
                session.wake.clear()
                for turn in itertools.count(1):
                    packet = session.next_packet()
                    if packet is None:
                        break
                    self._writer.write(packet)
                    await self._drain()
                    if turn % TURN == 0:
                        await asyncio.sleep(0)
        except (TimeoutError, ConnectionError, OSError):
            self.close()

    async def _read(self) -> tuple[int, int, codec.Body]:
        async with asyncio.timeout(self._read_timeout):
            return await codec.read_packet(self._reader, MAX_PACKET)

    async def _drain(self) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await self._writer.drain()

    async def _throttle(self, session: Session, cost: float) -> None:
        """Read a device that costs much more slowly, so that TCP pushes back on it and on nobody else."""
        if session.principal.internal:
            return
        wait_s = self._broker.borrow(session.principal.user, cost)
        if wait_s:
            await asyncio.sleep(wait_s)

    async def _goodbye(self) -> None:
        try:
            if self.session is not None:
                self._broker.release(self, self.session)
            if self._will is not None:  # nobody is there to be told whether it could be kept
                await self._broker.route(self._will)
                if (
                    self._broker.handover is not None
                    and self.session is not None
                    and not self.session.principal.internal
                ):
                    self._broker.handover.give_last(self._will)
        finally:
            self.closed.set()
            self._writer.close()
            with contextlib.suppress(ConnectionError, OSError, TimeoutError):
                await asyncio.wait_for(self._writer.wait_closed(), 1)

    def _warn(self, text: str, *args: object) -> None:
        self._broker.warn(self.session.principal.user if self.session else self.address, text, *args)

    def _who(self) -> str:
        return self.session.client_id if self.session else self.peer
