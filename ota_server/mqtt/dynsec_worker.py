"""Keeps the users in mosquitto's dynamic security plugin as the database has them, over a connection of its own.

The database decides. What the plugin has is read at each connection and every few minutes, and differences are
corrected; in between, a new entry in the audit log says that a device was registered, revoked or enrolled. So nothing
is lost when the broker or this server was away, and changes by hand are undone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
from sqlalchemy import func, select

from ota_server.errors import log_trouble
from ota_server.log_lines import Seldom
from ota_server.mqtt import client, dynsec
from ota_server.mqtt.dynsec import Account, Present
from ota_server.mqtt.url import BrokerUrl
from ota_server.security import password_hashes
from ota_server.security.device_credentials import Keys
from ota_server.store import Store, alarms
from ota_server.store.models import Audit, CoapSession, Device

log = logging.getLogger("tidegate.accounts")

POLL_S = 0.25  # how soon a device that was registered can log in
COMPARE_S = 300  # how soon a change by hand is put right
ANSWER_S = 5
RETRY_S = 2
AT_ONCE = 8  # devices in one message: 8 KiB, where our configuration allows 20
PAGE = 50  # users or roles in one answer
_NEVER = float("-inf")  # not 0, which on a machine that has just started is a moment ago


class NoAnswer(Exception):
    """The plugin did not answer, or not with yes."""


class Accounts:
    """A thread that updates the plugin's users until `stop`."""

    def __init__(self, store: Store, keys: Keys, broker: BrokerUrl, client_id: str) -> None:
        self._store = store
        self._keys = keys
        self._broker = broker
        self._stopping = threading.Event()
        self._ready = threading.Event()  # connected, and the answers are subscribed to
        self._answered = threading.Condition()
        self._answers: dict[str, dict[str, Any]] = {}
        self._tag = 0
        self._may_log = Seldom()
        self._connection = 0
        self._unknown: set[str] = set()  # devices whose password we cannot tell the plugin, as said before
        self._client = client.make(broker, client_id, clean_session=True)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._thread = threading.Thread(target=self._run, name="accounts", daemon=True)

    def start(self) -> None:
        """Start; an unreachable broker is tried again and again, with growing pauses."""
        self._client.connect_async(*self._broker.addresses[0], keepalive=client.KEEPALIVE_S)
        self._client.loop_start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with self._answered:
            self._answered.notify_all()
        self._thread.join(10)
        self._client.disconnect()
        self._client.loop_stop()

    # -------------------------------------------------------------- what should be, what is

    def _run(self) -> None:
        compared, connection, seen = _NEVER, 0, -1
        present = Present({}, {}, {})
        while not self._stopping.wait(POLL_S):
            if not self._ready.is_set():
                continue
            try:
                if connection != self._connection or time.monotonic() - compared > COMPARE_S:
                    connection = self._connection
                    present, seen, compared = self._read(), -1, time.monotonic()
                newest = self._newest_act()
                if newest != seen:
                    if self._correct(present):
                        present = self._read()
                    seen = newest
            except NoAnswer as error:
                compared = _NEVER
                self._warn("the users at %s could not be brought up to date: %s", self._broker, error)
                self._stopping.wait(RETRY_S)
            except Exception as error:  # the database may be locked or full for a while; this thread must outlive that
                compared = _NEVER
                log_trouble(log, error, "could not update the broker's users; next try in %d s", RETRY_S)
                self._stopping.wait(RETRY_S)

    def _newest_act(self) -> int:
        """Passwords change only together with an entry in the audit log."""
        with self._store.read() as session:
            return session.scalar(select(func.max(Audit.id))) or 0

    def _read(self) -> Present:
        """What the plugin has."""
        clients = {client["username"]: client for client in self._listed("listClients", "clients")}
        roles = {role["rolename"]: role["acls"] for role in self._listed("listRoles", "roles")}
        defaults = self._ask([{"command": "getDefaultACLAccess"}])[0]["acls"]
        return Present(clients, roles, {one["acltype"]: one["allow"] for one in defaults})

    def _listed(self, command: str, member: str) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = {"command": command, "verbose": True, "count": PAGE, "offset": offset}
            found = self._ask([page])[0][member]
            yield from found
            offset += PAGE
            if len(found) < PAGE:
                return

    def _correct(self, present: Present) -> bool:
        """Make the plugin's users those of the database; whether anything was to be done."""
        with self._store.read() as session:
            known = select(Device.id, Device.password_hash, CoapSession).outerjoin(
                CoapSession, CoapSession.device_id == Device.id
            )
            devices = list(session.execute(known.where(Device.revoked_at.is_(None)).order_by(Device.id)))
        work = [dynsec.defaults_wanted(present)]
        # First those who must not come in any more.
        work += [dynsec.take(present, user) for user in sorted(dynsec.ours(present) - {row[0] for row in devices})]
        for device_id, password_hash, credential in devices:
            account = Account(device_id, dynsec.mark(password_hash))
            if not dynsec.is_current(present, account):
                work.append(self._commands(present, account, password_hash, credential))
        work = [commands for commands in work if commands]
        for start in range(0, len(work), AT_ONCE):
            self._ask([command for commands in work[start : start + AT_ONCE] for command in commands])
        if work:
            log.info("the broker's users are up to date: %d changed", len(work))
        return bool(work)

    def _commands(
        self, present: Present, account: Account, password_hash: str, credential: CoapSession | None
    ) -> list[dict[str, Any]]:
        if dynsec.has_password(present, account):
            return dynsec.give(present, account, None)
        password = None if credential is None else self._keys.mqtt_password(credential)
        if password is not None and password_hashes.matches(password.encode(), password_hash):
            self._unknown.discard(account.user)
            return dynsec.give(present, account, password)
        if account.user not in self._unknown:
            self._unknown.add(account.user)
            detail = "its password is known only as a hash: give it new credentials, or write the plugin's file again"
            log.warning("%s cannot log in at the broker: %s", account.user, detail)
            with self._store.write() as session:
                alarms.raise_server_alarm(session, account.user, "broker-account", "password-unknown", detail)
        return dynsec.take(present, account.user)  # the password it has there is not its password any more

    # -------------------------------------------------------------- asking the plugin

    def _ask(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The data of each command's answer; NoAnswer if one fails. No password gets into an error or a log."""
        tags = [str(self._tag + number) for number in range(1, len(commands) + 1)]
        self._tag += len(commands)
        with self._answered:
            self._answers.clear()
        self._client.publish(dynsec.CONTROL, dynsec.encode(commands, tags), qos=0)  # not again after a new connection
        with self._answered:
            done = self._answered.wait_for(
                lambda: all(tag in self._answers for tag in tags) or self._stopping.is_set(), ANSWER_S
            )
            if self._stopping.is_set():
                raise NoAnswer("this server is stopping")
            if not done:
                raise NoAnswer("no answer; does the broker have the plugin, and may this server's user command it?")
            found = [self._answers[tag] for tag in tags]
        for command, answer in zip(commands, found, strict=True):
            if "error" in answer:
                of = command.get("username") or command.get("rolename") or ""
                raise NoAnswer(f"{command['command']} {of}: {answer['error']}")
        return [answer.get("data", {}) for answer in found]

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._warn(
                "the broker at %s refuses this server: %s. If the plugin's file was lost: tidegate mosquitto DIR"
                " --dynamic, and start mosquitto again",
                self._broker,
                reason,
            )
            return
        client.subscribe(dynsec.RESPONSE, qos=1)

    def _on_subscribe(self, _client: paho.Client, _data: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._warn("the broker at %s does not allow this server to manage its users", self._broker)
            return
        self._connection += 1
        self._ready.set()

    def _on_disconnect(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._ready.clear()
        if not self._stopping.is_set():
            log.info("the connection to %s for its users is gone (%s)", self._broker, reason)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        with self._answered:
            self._answers.update(dynsec.answers(bytes(message.payload)))
            self._answered.notify_all()

    def _warn(self, text: str, *args: Any) -> None:
        """Once in a while: a broker that is away is tried again and again."""
        if self._may_log():
            log.warning(text, *args)
