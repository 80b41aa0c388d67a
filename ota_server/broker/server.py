"""The broker: routes messages between sessions, in an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from ota_server.broker.access import Access, Principal
from ota_server.broker.codec import Connect, Message
from ota_server.broker.connection import Connection
from ota_server.broker.handover import Handover, Uplink, settle
from ota_server.broker.session import Session
from ota_server.broker.topics import Retained
from ota_server.loop_thread import LoopThread
from ota_server.tls_listener import TlsListener
from ota_server.token_bucket import TokenBuckets
from tidegate.names import DEVICE_ID

log = logging.getLogger("tidegate.broker")

Key = tuple[Principal, str]  # a user and its client id

MAX_CONNECTIONS = 2000
MAX_SESSIONS = 4000
MAX_USER_SESSIONS = 8  # of one user with different client ids; a device needs one
MAX_STRANGERS = 1000  # connections that have not logged in, which they must in 10 s
MAX_STRANGERS_OF_ADDRESS = 200  # a whole fleet behind one address comes back at once
LOGINS_AT_ONCE = 2  # of one address
RATE, BURST = 50.0, 200.0  # packets a second that a device may sustain, and at once; of all its connections together
WARNINGS, WARNINGS_AT_ONCE = 0.1, 10  # lines a second in the log about one user or address
SESSION_EXPIRY_S = 3600  # a session without a connection ends after this
DISMISS_S = 5  # for connections that are cut off to be gone
DRAIN_S = 5  # for the server to read what was acknowledged, when it stops
CLOSE_S = 5
READ_AHEAD = 64 * 1024  # bytes of a connection


class Broker:
    """Sessions, retained messages and routing. Lives in one event loop."""

    def __init__(self, access: Access, uplink: Uplink | None = None) -> None:
        """uplink: takes what devices publish, which is then acknowledged when it is done. Without one, sessions do."""
        self.access = access
        self.handover = Handover(uplink) if uplink is not None else None
        self.retained = Retained()
        self.lines = TokenBuckets(WARNINGS, WARNINGS_AT_ONCE)
        self._rates = TokenBuckets(RATE, BURST, most=MAX_SESSIONS)
        self._sessions: dict[Principal, dict[str, Session]] = {}  # user -> client id -> session
        self._holders: dict[Key, Connection] = {}  # the connection that has the session now
        self._left_at: dict[Key, float] = {}
        self._connections: set[Connection] = set()
        self._strangers: Counter[str] = Counter()  # address -> connections that have not logged in
        self._turns: dict[str, asyncio.Semaphore] = {}
        self.dismissals = 0  # so far; a login that was checked before one is checked again

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Callback of the listening socket."""
        connection = Connection(self, reader, writer)
        if len(self._connections) >= MAX_CONNECTIONS:
            self.warn(
                "limit",
                "refused a connection of %s: the broker inside holds %d; for more devices run mosquitto "
                "(`tidegate mosquitto --help`, docs/server.md)",
                connection.address,
                MAX_CONNECTIONS,
            )
            writer.close()
            return
        if self._strangers.total() >= MAX_STRANGERS or self._strangers[connection.address] >= MAX_STRANGERS_OF_ADDRESS:
            self.warn(connection.address, "refused a connection of %s: too many have not logged in", connection.address)
            writer.close()
            return
        self._connections.add(connection)
        self._strangers[connection.address] += 1
        try:
            await connection.run()
        except asyncio.CancelledError:
            writer.close()
        finally:
            self.known(connection)
            self._connections.discard(connection)

    def known(self, connection: Connection) -> None:
        """The connection has logged in, or has ended: it does not count as a stranger's any more."""
        if connection.stranger:
            connection.stranger = False
            self._strangers[connection.address] -= 1
            if not self._strangers[connection.address]:
                del self._strangers[connection.address]
                self._turns.pop(connection.address, None)

    def turn(self, address: str) -> asyncio.Semaphore:
        """Passwords are dear to check: each address has a few checked at a time, so that others' turns come."""
        return self._turns.setdefault(address, asyncio.Semaphore(LOGINS_AT_ONCE))

    def borrow(self, user: str, cost: float) -> float:
        """Count what a device's packets cost; returns the seconds until the next of them may be read. A new connection
        begins with what the ones before it have left."""
        return self._rates.borrow(user, cost)

    def warn(self, key: str, text: str, *args: object) -> None:
        """Log what a client did wrong, but not more often than a person reads it. key: the user, or the address."""
        if self.lines.take(key):
            whose = "device" if DEVICE_ID.fits(key) else "peer"
            log.warning(text, *args, extra={"facts": {whose: key}})

    async def adopt(self, connection: Connection, hello: Connect, principal: Principal) -> tuple[Session | None, bool]:
        """The session for an authenticated client, and whether it existed.

        Client ids belong to users: two users with the same id have two sessions, so no device can end or hold the
        session of another. None: this device calls itself by the name of another one that has a session, which can
        only be a mistake.
        """
        client_id = hello.client_id or f"auto-{secrets.token_hex(8)}"
        if client_id != principal.user and any(
            other in self._sessions for other in (Principal(client_id), Principal(client_id, internal=True))
        ):
            return None, False
        key = (principal, client_id)
        while (holder := self._holders.get(key)) is not None:
            log.info("%s: connected again, the older connection is closed", client_id)  # 3.1.4
            holder.close()
            await holder.closed.wait()
        await self._make_room(principal, client_id)
        own = self._sessions.setdefault(principal, {})
        old = own.get(client_id)
        if old is None or hello.clean or old.clean:
            session, present = Session(client_id, principal, hello.clean), False
        else:
            session, present = old, True
            session.resume()
        own[client_id] = session
        self._holders[key] = connection
        self._left_at.pop(key, None)
        connection.session = session
        self.known(connection)
        return session, present

    def release(self, connection: Connection, session: Session) -> None:
        """The connection has ended; a clean session ends with it."""
        key = (session.principal, session.client_id)
        if self._holders.get(key) is not connection:
            return
        del self._holders[key]
        if session.clean:
            self._end(key)
        elif self._sessions.get(session.principal, {}).get(session.client_id) is session:
            self._left_at[key] = time.monotonic()

    async def route(self, message: Message) -> bool:
        """Deliver to everyone who subscribed, at the lower of the two QoS (3.8.4); keep it if it is retained.

        Returns False if it could not be kept, or not be delivered to a session that it is for: then it must not be
        acknowledged.
        """
        done = True
        if message.retain and not self.retained.keep(message):
            device = message.topic.split("/")[1:2]
            self.warn("".join(device), "%s: not retained: there is no room", message.topic)
            done = False
        for session in self._readers(message.topic):
            granted = session.granted(message.topic)
            if granted is None:
                continue
            qos = min(granted, message.qos)
            if qos == 0 and (session.principal, session.client_id) not in self._holders:
                continue
            # Where the server has another way, a reader of everything is somebody who looks: nobody waits for it.
            looks = self.handover is not None and session.principal.internal
            if await session.put(Message(message.topic, message.payload, qos, retain=False), not looks) or not qos:
                continue
            if message.retain and done and not session.principal.internal:
                session.owe([message.topic], granted, self.retained.get)  # it waits as a name in place of a message
                continue
            self.warn(session.principal.user, "%s: %s dropped: its queue is full", session.client_id, message.topic)
            done = done and looks
        return done

    async def send_retained(self, session: Session, pattern: str, granted: int) -> int:
        """What a new subscription gets (3.3.1.3) is put on its way; returns how many messages these are at most."""
        return session.owe([message.topic for message in self.retained.select(pattern)], granted, self.retained.get)

    def _readers(self, topic: str) -> list[Session]:
        """The sessions that may have subscribed to the topic. What a message costs does not grow with the fleet."""
        users = [Principal(topic.split("/")[1]), self.access.server] if "/" in topic else []
        return [session for user in users for session in self._sessions.get(user, {}).values()]

    async def dismiss(self, user: str) -> None:
        """End the user's connections and sessions, after its login was changed. Its last will is published."""
        self.dismissals += 1
        for principal in (Principal(user), Principal(user, internal=True)):
            for client_id in list(self._sessions.get(principal, ())):
                self._end((principal, client_id))
        await self._close([one for one in self._connections if one.session and one.session.principal.user == user])

    async def drain(self) -> None:
        """Lets the devices go, then waits for the server to have what they said."""
        own = [one.session for one in self._connections if one.session and one.session.principal.internal]
        await self._close([one for one in self._connections if one.session not in own])
        end = time.monotonic() + DRAIN_S
        while time.monotonic() < end and (
            (self.handover is not None and self.handover.waiting) or any(session.waiting for session in own)
        ):
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self._close(list(self._connections))

    async def _close(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.close()
        for connection in connections:
            await asyncio.wait([asyncio.ensure_future(connection.closed.wait())], timeout=1)

    def _end(self, key: Key) -> None:
        """Forget a session."""
        self._left_at.pop(key, None)
        own = self._sessions.get(key[0], {})
        own.pop(key[1], None)
        if not own:
            self._sessions.pop(key[0], None)

    async def _make_room(self, principal: Principal, client_id: str) -> None:
        """End sessions that are over, and of a user with too many others the one that was opened first."""
        now = time.monotonic()
        stale = [key for key, at in self._left_at.items() if now - at > SESSION_EXPIRY_S]
        if sum(len(own) for own in self._sessions.values()) >= MAX_SESSIONS:
            stale += sorted(self._left_at, key=self._left_at.__getitem__)[: MAX_SESSIONS // 10]
        for key in stale:
            self._end(key)
        others = [one for one in self._sessions.get(principal, ()) if one not in (client_id, principal.user)]
        for one in others[: max(0, len(others) - MAX_USER_SESSIONS + 1)]:
            holder = self._holders.get((principal, one))
            self._end((principal, one))
            if holder is not None:
                holder.close()
                await holder.closed.wait()


class EmbeddedBroker:
    """Starts and stops a Broker from ordinary threads."""

    def __init__(
        self,
        host: str,
        port: int,
        access: Access,
        context: ssl.SSLContext | None = None,
        uplink: Uplink | None = None,
    ) -> None:
        """context: for TLS. uplink: takes what devices publish."""
        self._host = host
        self._port = port
        self._context = context
        self._broker = Broker(access, uplink)
        self._leave = asyncio.Event()
        self._empty = threading.Event()
        self._thread = LoopThread("broker", self._main)
        self.address: tuple[str, int] = (host, port)

    def start(self) -> tuple[str, int]:
        """Listen; returns the real (host, port). Raises OSError when the address cannot be used."""
        self._thread.start()
        return self.address

    def dismiss(self, user: str) -> None:
        """Cut off whoever is connected as this user; returns when it is done."""
        try:
            self._thread.run(lambda: self._broker.dismiss(user), DISMISS_S)
        except TimeoutError:
            log.warning("%s: its connection is not gone after %d s", user, DISMISS_S)

    def settle(self, done: Sequence[Callable[[], None]]) -> None:
        """The server has these messages: what was given as `done` with each is called, in the broker's loop."""
        self._thread.call_soon(lambda: settle(done))

    def drain(self) -> None:
        """Take no more connections, let the devices go, and hand the server what was acknowledged to them."""
        if self._thread.call_soon(self._leave.set):
            self._empty.wait(DRAIN_S + 2)

    def stop(self) -> None:
        """Close every connection and end the thread."""
        self.drain()
        self._thread.stop(CLOSE_S)

    async def _main(self, thread: LoopThread) -> None:
        broker = self._broker
        server: asyncio.Server | TlsListener
        if self._context is None:
            server = await asyncio.start_server(broker.accept, self._host, self._port, limit=READ_AHEAD)
        else:
            server = TlsListener(self._host, self._port, self._context, broker.accept, READ_AHEAD)
            await server.start()
        self.address = server.sockets[0].getsockname()[:2]
        thread.ready()
        await self._leave.wait()
        server.close()
        await broker.drain()
        self._empty.set()
        await thread.stopping.wait()
        await broker.close()
