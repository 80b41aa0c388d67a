"""The broker: routes messages between sessions, in an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import threading
import time
from typing import Any

from ota_server.broker.access import Access, Principal
from ota_server.broker.codec import Connect, Message
from ota_server.broker.connection import Connection
from ota_server.broker.session import Session
from ota_server.broker.topics import Retained
from ota_server.loop_thread import LoopThread
from ota_server.tls_context import HANDSHAKE_TIMEOUT_S

log = logging.getLogger("tidegate.broker")

MAX_CONNECTIONS = 2000
MAX_SESSIONS = 4000
SESSION_EXPIRY_S = 3600  # a session without a connection ends after this
DISMISS_S = 5  # for connections that are cut off to be gone
DRAIN_S = 5  # for the server to read what was acknowledged, when it stops
CLOSE_S = 5


class Broker:
    """Sessions, retained messages and routing. Lives in one event loop."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.retained = Retained()
        self._sessions: dict[str, Session] = {}
        self._holders: dict[str, Connection] = {}  # client id -> the connection that has the session now
        self._left_at: dict[str, float] = {}
        self._connections: set[Connection] = set()
        self.dismissals = 0  # so far; a login that was checked before one is checked again

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Callback of the listening socket."""
        if len(self._connections) >= MAX_CONNECTIONS:
            log.warning("refused a connection: %d are open", MAX_CONNECTIONS)
            writer.close()
            return
        connection = Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        except asyncio.CancelledError:
            writer.close()
        finally:
            self._connections.discard(connection)

    async def adopt(self, connection: Connection, hello: Connect, principal: Principal) -> tuple[Session | None, bool]:
        """The session for an authenticated client, and whether it existed. None: the id belongs to another user."""
        client_id = hello.client_id or f"auto-{secrets.token_hex(8)}"
        while (holder := self._holders.get(client_id)) is not None:
            if holder.session is None or holder.session.principal != principal:
                return None, False
            log.info("%s: connected again, the older connection is closed", client_id)  # 3.1.4
            holder.close()
            await holder.closed.wait()
        self._expire()
        old = self._sessions.get(client_id)
        if old is not None and old.principal != principal:
            return None, False
        if old is None or hello.clean or old.clean:
            session, present = Session(client_id, principal, hello.clean), False
        else:
            session, present = old, True
            session.resume()
        self._sessions[client_id] = session
        self._holders[client_id] = connection
        self._left_at.pop(client_id, None)
        connection.session = session
        return session, present

    def release(self, connection: Connection, session: Session) -> None:
        """The connection has ended; a clean session ends with it."""
        if self._holders.get(session.client_id) is not connection:
            return
        del self._holders[session.client_id]
        if session.clean:
            self._sessions.pop(session.client_id, None)
        else:
            self._left_at[session.client_id] = time.monotonic()

    async def route(self, message: Message) -> None:
        """Deliver to everyone who subscribed, at the lower of the two QoS (3.8.4); keep it if it is retained."""
        if message.retain and not self.retained.keep(message):
            log.error("retained message for %s dropped: the store is full", message.topic)
        for session in list(self._sessions.values()):
            granted = session.granted(message.topic)
            if granted is None:
                continue
            qos = min(granted, message.qos)
            if qos == 0 and session.client_id not in self._holders:
                continue
            await session.put(Message(message.topic, message.payload, qos, retain=False))

    async def send_retained(self, session: Session, pattern: str, granted: int) -> None:
        """What a new subscription gets at once (3.3.1.3)."""
        for message in self.retained.select(pattern):
            await session.put(message._replace(qos=min(granted, message.qos)))

    async def dismiss(self, user: str) -> None:
        """End the user's connections and sessions, after its login was changed. Its last will is published."""
        self.dismissals += 1
        for session in [one for one in self._sessions.values() if one.principal.user == user]:
            self._sessions.pop(session.client_id, None)
            self._left_at.pop(session.client_id, None)
        await self._close([one for one in self._connections if one.session and one.session.principal.user == user])

    async def drain(self) -> None:
        """Lets the devices go, then waits for the server to read what was acknowledged to them."""
        own = [one.session for one in self._connections if one.session and one.session.principal.internal]
        await self._close([one for one in self._connections if one.session not in own])
        end = time.monotonic() + DRAIN_S
        while any(session.waiting for session in own) and time.monotonic() < end:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self._close(list(self._connections))

    async def _close(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.close()
        for connection in connections:
            await asyncio.wait([asyncio.ensure_future(connection.closed.wait())], timeout=1)

    def _expire(self) -> None:
        now = time.monotonic()
        stale = [cid for cid, at in self._left_at.items() if now - at > SESSION_EXPIRY_S]
        if len(self._sessions) >= MAX_SESSIONS:
            stale += sorted(self._left_at, key=self._left_at.__getitem__)[: MAX_SESSIONS // 10]
        for client_id in stale:
            self._left_at.pop(client_id, None)
            self._sessions.pop(client_id, None)


class EmbeddedBroker:
    """Starts and stops a Broker from ordinary threads."""

    def __init__(self, host: str, port: int, access: Access, context: ssl.SSLContext | None = None) -> None:
        """context: for TLS."""
        self._host = host
        self._port = port
        self._tls: dict[str, Any] = {"ssl": context, "ssl_handshake_timeout": HANDSHAKE_TIMEOUT_S} if context else {}
        self._broker = Broker(access)
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
        server = await asyncio.start_server(broker.accept, self._host, self._port, limit=64 * 1024, **self._tls)
        self.address = server.sockets[0].getsockname()[:2]
        thread.ready()
        await self._leave.wait()
        server.close()
        await broker.drain()
        self._empty.set()
        await thread.stopping.wait()
        await broker.close()
