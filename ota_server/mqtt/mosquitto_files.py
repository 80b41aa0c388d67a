"""Files for mosquitto in place of the embedded broker: users, the two-line access list, a configuration to start from.

Two ways. With password and access file the server writes them at each change and has mosquitto read them again
(`Reload`). With the dynamic security plugin (ota_server.mqtt.dynsec) the plugin's file is written once, and changes go
over MQTT.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from pathlib import Path

from sqlalchemy import select

from ota_server.config import Config
from ota_server.mqtt import dynsec
from ota_server.security import password_hashes
from ota_server.store import Store
from ota_server.store.models import Device
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic

log = logging.getLogger("tidegate.mosquitto")

SERVER_USER = "tidegate_server"  # cannot be a device's id, which has no underscore
PLUGIN_FILE = "dynamic-security.json"
_writing = threading.Lock()  # from reading the users to the file: an older list must not replace a newer one

ACCESS = f"""\
# A device writes below its own up/ and reads below its own down/; its user name is its id.
pattern write tg/%u/up/#
pattern read tg/%u/down/#

user {SERVER_USER}
topic read tg/+/up/#
topic write tg/+/down/#
"""

_BY_FILES = """\
# A client's id is its user name, so that no client can take over another's connection by its client id.
use_username_as_clientid true
password_file {folder}/passwords
acl_file {folder}/access
"""

_DYNAMIC = """\
plugin {plugin}
plugin_opt_config_file {folder}/{file}
"""

CONFIGURATION = """\
# Written once by `tidegate mosquitto`; change it as you like.
listener 1883 127.0.0.1
allow_anonymous false
{access}\
pid_file {folder}/mosquitto.pid
max_packet_size 20480
max_keepalive 600
max_connections 10000
persistent_client_expiration 7d
persistence true
persistence_location {folder}/
# All that is retained, and what the server has not filed yet, is written to the disk every so many seconds: a broker
# that was killed has lost what it acknowledged since and the server has not filed.
autosave_on_changes false
autosave_interval 10
# The server acknowledges what is on its disk, many messages at a time; and it reads all births and states at its start.
max_inflight_messages 1000
max_queued_messages 100000
# Not info: that has a line for each time it saves.
log_type error
log_type warning
log_type notice
"""


def write(folder: Path, config: Config, store: Store) -> None:
    """Write the users and the access list, and a configuration if there is not one yet.

    A mosquitto that runs reads the first two when it gets SIGHUP (`Reload`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _writing:
        lines = [f"{device_id}:{password_hash}" for device_id, password_hash in _devices(store)]
        users = "\n".join([f"{SERVER_USER}:{_own_hash(config)}", *lines]) + "\n"
        write_atomic(folder / "passwords", users.encode(), mode=0o640)
        write_atomic(folder / "access", ACCESS.encode(), mode=0o640)
        _configure(folder, _BY_FILES.format(folder=folder.resolve()))


def write_dynamic(folder: Path, config: Config, store: Store, plugin: Path | None = None) -> bool:
    """Write the plugin's file and a configuration, each only if it does not exist: mosquitto owns the plugin's file.

    Returns whether the plugin's file was written; mosquitto reads it when it starts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / PLUGIN_FILE
    main = folder / "mosquitto.conf"
    if not main.exists():
        found = plugin or dynsec.plugin()
        _configure(folder, _DYNAMIC.format(plugin=found, folder=folder.resolve(), file=PLUGIN_FILE))
    elif PLUGIN_FILE not in main.read_text(errors="replace"):
        raise TidegateError(
            f"{main} exists and does not use the plugin",
            "Move it away to have a new one written, or add `plugin` and `plugin_opt_config_file` to it",
        )
    if file.exists():
        return False
    write_atomic(file, dynsec.file(SERVER_USER, _own_hash(config), _devices(store)), mode=0o660)
    return True


def refresh(config: Config, store: Store) -> bool:
    """After a change of users, if this server manages a mosquitto's files; returns whether it must read them again."""
    if config.mosquitto_dir is None:
        return False
    if not config.dynamic:
        write(config.mosquitto_dir, config, store)
        return True
    if write_dynamic(config.mosquitto_dir, config, store):
        log.warning(
            "the plugin's file in %s was missing and is there again; restart a mosquitto that started without it",
            config.mosquitto_dir,
        )
    return False


def _devices(store: Store) -> list[tuple[str, str]]:
    """Those who may log in, with the hashes of their passwords."""
    with store.read() as session:
        known = select(Device.id, Device.password_hash).where(Device.revoked_at.is_(None)).order_by(Device.id)
        return [(row.id, row.password_hash) for row in session.execute(known)]


def _own_hash(config: Config) -> str:
    return password_hashes.hashed(read_limited(config.broker_password, 256, "broker password").decode().strip())


def _configure(folder: Path, access: str) -> None:
    main = folder / "mosquitto.conf"
    if not main.exists():
        write_atomic(main, CONFIGURATION.format(folder=folder.resolve(), access=access).encode())


class Reload:
    """Has mosquitto read its users again with SIGHUP, and end the connections of those who could not log in any more.

    A mosquitto that was started anew knows the server's stored session only by its client id, until the server is
    connected again. SIGHUP in that time takes the session's rights away, and what devices then publish for it is
    acknowledged and dropped. So the signal goes to no other process than the one the server is connected to. Any other
    has read the files at its start, or gets the signal once the server is connected.
    """

    def __init__(self, folder: Path) -> None:
        self._pid_file = folder / "mosquitto.pid"
        self._lock = threading.Lock()
        self._connected_to: int | None = None
        self._due = False

    def request(self) -> None:
        """The files were changed."""
        with self._lock:
            self._due = True
            self._send()

    def connected(self) -> None:
        """The server's subscription stands."""
        with self._lock:
            self._connected_to = self._running()
            self._send()

    def gone(self) -> None:
        """The connection has ended."""
        with self._lock:
            self._connected_to = None

    def _send(self) -> None:
        pid = self._connected_to
        if self._due and pid is not None and pid == self._running():
            self._due = False
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGHUP)

    def _running(self) -> int | None:
        """The process that the file names, if it is mosquitto: such files outlive their process."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid_file.read_text())
            if Path(f"/proc/{pid}/comm").read_text().strip() == "mosquitto":
                return pid
        return None
