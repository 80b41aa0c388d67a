"""Puts the parts of a server together that run in this process, and takes them apart in reverse (ota_server.roles)."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import resource
import secrets
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ota_server import data_folder, roles
from ota_server.address import Address
from ota_server.application import create_app
from ota_server.broker import Access, EmbeddedBroker, codec
from ota_server.coap import CoapServer
from ota_server.commands.policy import CommandPolicy
from ota_server.config import DATABASE_URL, Config
from ota_server.errors import Problem
from ota_server.first_start import of_ground, prepare
from ota_server.fleet.waves.pacer import Pacer
from ota_server.http.server import HttpServer
from ota_server.mqtt import acknowledging, client, mosquitto_files
from ota_server.mqtt.dynsec_worker import Accounts
from ota_server.mqtt.filing import Filer, Waiting, wakes
from ota_server.mqtt.url import BrokerUrl
from ota_server.mqtt.worker import MqttWorker
from ota_server.releases.payload_stores import open_store
from ota_server.releases.payloads import Payloads
from ota_server.roles import Share
from ota_server.security import audit, device_login, tokens
from ota_server.security.device_credentials import Keys
from ota_server.store import Store, clock_record, devices, downlink_queue
from ota_server.store.engine import is_sqlite
from ota_server.store.housekeeper import Housekeeper
from ota_server.store.lease import Lease
from ota_server.store.retention import Keep
from ota_server.tls_context import Tls, client_of
from ota_server.uplink import ingest
from ota_server.webhooks.sender import Sender
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic

log = logging.getLogger("tidegate.serve")

BROKER_WAIT_S = 3
FILES = 8192  # that this process may have open, where the system lets it


class Server:
    """A running server, or one of several processes of it: `roles` says which parts of it run here.

    `start` returns the addresses; `run` serves until a signal; `stop` ends everything.
    """

    def __init__(
        self,
        config: Config,
        http: Address,
        mqtt: Address,
        broker_url: str | None = None,
        coap: Address | None = None,
        tls: Tls | None = None,
        broker_ca: Path | None = None,
        trusted_proxy: str | None = None,
        roles: frozenset[str] = frozenset(roles.ALL),
        share: Share = Share(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self._config = config
        self._http = http
        self._mqtt = mqtt
        self._broker_url = broker_url
        self._coap_address = coap
        self._tls = tls
        self._broker_ca = broker_ca
        self._trusted_proxy = trusted_proxy
        self._roles = roles
        self._share = share
        self._wake = threading.Event()
        self._running = contextlib.ExitStack()  # what stops the parts, the last one that started first
        self._broker: EmbeddedBroker | None = None
        self._reload = mosquitto_files.Reload(config.mosquitto_dir) if config.mosquitto_dir is not None else None
        self._filer: Filer | None = None  # of the broker inside
        self._worker: MqttWorker | None = None
        self._web: HttpServer | None = None
        self._payloads: Payloads | None = None

    def start(self) -> dict[str, str]:
        """Open everything and return the addresses, which serve.json has too.

        They are {"http": url, "mqtt": url} with the real ports, and "coap" if it was requested; those of the roles
        that run here.
        """
        try:
            return self._start()
        except (OSError, SQLAlchemyError) as error:
            raise of_ground(self._config, error) from error

    def _start(self) -> dict[str, str]:
        if not self._is_whole:
            self._check_apart()
        signal.signal(signal.SIGTERM, _leave)
        _allow_connections()
        store = prepare(self._config)
        self._running.callback(store.close)
        self._running.callback(data_folder.hold(self._config.data, alone=self._is_whole).close)
        with store.read() as session:
            clock_record.begin(session)
        addresses = {}
        if self._roles & {roles.INGEST, roles.DOWNLINK}:
            addresses["mqtt"] = self._start_mqtt(store)
        if roles.COAP in self._roles and self._coap_address is not None:
            addresses["coap"] = self._start_coap(store, self._coap_address)
        if roles.WEB in self._roles:
            addresses = {"http": self._start_web(store), **addresses}
        own_file = self._config.data / f"serve-{self._name}.json"
        self._say_where(store, addresses, self._config.addresses if self._is_whole else own_file)
        if roles.DOWNLINK in self._roles:
            for part in (
                Housekeeper(store, Keep(self._config.keep_days, self._config.keep_rows)),
                Pacer(store, self._wake.set, hears=self._hears),
                self._webhooks(store),
            ):
                part.start()
                self._running.callback(part.stop)
        return addresses

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            if self._web is not None:
                self._web.run()
            else:
                threading.Event().wait()

    def stop(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough
        self._running.close()

    def _webhooks(self, store: Store) -> Lease:
        sender = Sender(store, Keys(self._config.coap_secret).of_webhook)
        return Lease(store, "send webhooks", sender.start, sender.stop)

    @property
    def _is_whole(self) -> bool:
        return self._roles == frozenset(roles.ALL)

    @property
    def _name(self) -> str:
        """Of this process, among those that share a folder."""
        words = [role for role in roles.ALL if role in self._roles]
        return "-".join(words + ([f"{self._share.number}-of-{self._share.of}"] if self._share.of > 1 else []))

    def _check_apart(self) -> None:
        """What roles in processes of their own need."""
        if is_sqlite(self._config.database):
            raise TidegateError(
                "roles apart need PostgreSQL: SQLite's file belongs to one process",
                f"Set {DATABASE_URL}, or leave --roles out; `tidegate server move` takes the data along",
            )
        if self._broker_url is None and self._roles & {roles.INGEST, roles.DOWNLINK}:
            raise TidegateError(
                "the broker inside belongs to one process", "Name another with --broker, or leave --roles out"
            )
        if self._config.mosquitto_dir is not None and not self._config.dynamic:
            raise TidegateError(
                "with password and access files mosquitto lets the server in only once",
                "Use its dynamic security plugin: `tidegate mosquitto --dynamic DIR` and --dynamic",
            )
        if roles.COAP in self._roles and self._coap_address is None:
            raise TidegateError("the role coap needs an address", "Give --coap HOST:PORT")

    def _start_mqtt(self, store: Store) -> str:
        """Broker inside, connection to the broker, and the broker's users; the broker's address."""
        own = read_limited(self._config.broker_password, 256, "broker password").decode().strip()
        if self._broker_url is None:
            with store.write() as session:  # a broker that starts now has no connections and no retained messages
                devices.all_offline(session)
                downlink_queue.forget_sent(session)
            scheme, tls = ("mqtts", self._tls.own_client()) if self._tls else ("mqtt", None)
            broker = BrokerUrl(f"{scheme}://{mosquitto_files.SERVER_USER}@{self._start_broker(store, own)}", own, tls)
        else:
            broker = BrokerUrl(self._broker_url, own, client_of(self._broker_ca))
            if mosquitto_files.refresh(self._config, store) and self._reload is not None:
                self._reload.request()  # and is carried out once the worker is connected
        if self._config.dynamic and roles.DOWNLINK in self._roles:
            accounts = Accounts(store, Keys(self._config.coap_secret), broker, client.id_of(own, f"access-{_unique()}"))
            accounts.start()
            self._running.callback(accounts.stop)
        if self._broker is not None or roles.INGEST not in self._roles:
            self._begin_mqtt(store, broker, own)
            self._running.callback(self._end_mqtt)
        else:
            lease = Lease(
                store,
                f"file what devices publish ({self._share})",
                lambda: self._begin_mqtt(store, broker, own),
                self._end_mqtt,
            )
            lease.start()
            self._running.callback(lease.stop)
        if self._broker is not None:
            self._running.callback(self._broker.drain)
        return str(broker)

    def _begin_mqtt(self, store: Store, broker: BrokerUrl, own: str) -> None:
        policy = CommandPolicy(self._config) if roles.DOWNLINK in self._roles else None
        filer, name = None, "server" if self._broker is not None else f"downlink-{_unique()}"
        if self._broker is None and roles.INGEST in self._roles:
            filer = Filer(store, self._filed, acknowledging.together)
            name = "server" if self._share.of == 1 else f"ingest-{self._share}"
        client_id = client.id_of(own, name)
        self._worker = MqttWorker(
            store, broker, self._wake, client_id, policy, filer, self._reload, self._share, alone=self._is_whole
        )
        self._worker.start()
        if not self._worker.wait_ready(BROKER_WAIT_S):
            log.warning("the broker at %s is not reachable yet; the server tries again and again", broker)

    def _end_mqtt(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _hears(self) -> bool:
        """Whether the broker stands, as far as this process has a connection of its own."""
        worker = self._worker
        return worker is None or worker.wait_ready(0)

    def _filed(self, messages: Sequence[ingest.Message]) -> None:
        if wakes(messages):
            self._wake.set()

    def _say_where(self, store: Store, addresses: dict[str, str], file: Path) -> None:
        """Write the real addresses where others find them, until the end."""
        write_atomic(file, json.dumps({**addresses, "pid": os.getpid()}).encode() + b"\n")
        self._running.callback(_remove, file)
        with store.write() as session:
            audit.record(session, "serve", "server.start", "server", **addresses)

    def _open_payloads(self) -> Payloads:
        if self._payloads is None:
            self._payloads = open_store(self._config)
            try:
                self._payloads.check()
            except Problem as problem:
                log.warning("%s; the server tries again when somebody wants a payload", problem.detail)
        return self._payloads

    def _start_broker(self, store: Store, own: str) -> Address:
        access = Access(
            mosquitto_files.SERVER_USER,
            lambda password: hmac.compare_digest(password, own.encode()),
            lambda user, password: device_login.is_right(store, user, password),
            certificates=self._tls is not None and self._tls.client_ca is not None,
        )
        context = self._tls.context() if self._tls else None
        self._broker = EmbeddedBroker(self._mqtt.host, self._mqtt.port, access, context, self._take)
        try:
            host, port = self._broker.start()
        except OSError as error:
            raise _cannot_listen(self._mqtt, "--mqtt", error) from error
        self._running.callback(self._broker.stop)
        self._filer = Filer(store, self._filed, self._settle)
        self._filer.start()
        self._running.callback(self._filer.stop)
        return Address(host, port)

    def _take(self, message: codec.Message, again: bool, done: Callable[[], None]) -> None:
        """What a device published to the broker inside, on its way to the database."""
        if self._filer is not None:
            self._filer.put(Waiting(ingest.Message(message.topic, message.payload, False, again=again), done))

    def _settle(self, batch: Sequence[Waiting]) -> None:
        """The database has these messages that devices published to the broker inside."""
        if self._broker is not None:
            self._broker.settle([waiting.acknowledge for waiting in batch if waiting.acknowledge is not None])

    def _start_coap(self, store: Store, address: Address) -> str:
        payloads = self._open_payloads()
        keys, policy = Keys(self._config.coap_secret), CommandPolicy(self._config)
        coap = CoapServer(store, payloads, keys, policy, (address.host, address.port), self._wake.set)
        try:
            listening = coap.start()
        except OSError as error:
            raise _cannot_listen(address, "--coap", error) from error
        self._running.callback(coap.stop)
        return f"coap://{Address(*listening)}"

    def _start_web(self, store: Store) -> str:
        dismiss = self._broker.dismiss if self._broker is not None else None
        reload_users = self._reload.request if self._reload is not None else None
        app = create_app(self._config, store, self._wake, dismiss, reload_users, self._open_payloads())
        context = self._tls.context() if self._tls else None
        try:
            self._web = HttpServer(
                app,
                self._http.host,
                self._http.port,
                self._config.max_payload,
                context,
                lambda token: tokens.holder(store, token),
                self._trusted_proxy,
            )
        except OSError as error:
            raise _cannot_listen(self._http, "--http", error) from error
        self._running.callback(self._web.close)
        return f"{self._web.scheme}://{Address(*self._web.address)}"


def _unique() -> str:
    return secrets.token_hex(4)


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def _allow_connections() -> None:
    """Each connection is a file, over TLS three; many systems allow 1024 unless a process asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _leave(_signal: int, _frame: Any) -> None:
    raise SystemExit


def _cannot_listen(address: Address, option: str, error: OSError) -> TidegateError:
    return TidegateError(
        f"cannot listen on {address}: {error.strerror or error}",
        f"Is another server running there? Choose another address with {option} HOST:PORT",
    )
