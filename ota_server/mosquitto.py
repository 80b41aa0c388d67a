"""Files for mosquitto in place of the broker inside: users, the two-line access list, a configuration to start from."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from sqlalchemy import select

from tidegate.files import read_limited, write_atomic

from . import passwords
from .config import Config
from .store import Store
from .store.models import Device

SERVER_USER = "tidegate_server"  # no device can be called so: ids have no underscore

ACCESS = f"""\
# A device writes below its own up/ and reads below its own down/; its user name is its id.
pattern write tg/%u/up/#
pattern read tg/%u/down/#

user {SERVER_USER}
topic readwrite tg/#
"""

CONFIGURATION = """\
# Written once by `tidegate mosquitto`; change it as you like.
listener 1883 127.0.0.1
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/access
pid_file {folder}/mosquitto.pid
max_packet_size 20480
max_keepalive 600
persistence true
persistence_location {folder}/
# What the server has not read yet is on disk, but for the last message: a broker that is killed has it when it is back.
autosave_on_changes true
autosave_interval 1
max_queued_messages 20000
# Not info: that has a line for each time it saves.
log_type error
log_type warning
log_type notice
"""


def write(folder: Path, config: Config, store: Store) -> None:
    """Write the users and the access list, and a configuration where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    own = read_limited(config.broker_password, 256, "broker password").decode().strip()
    with store.read() as session:
        lines = [f"{row.id}:{row.password_hash}" for row in session.execute(select(Device.id, Device.password_hash))]
    users = "\n".join([f"{SERVER_USER}:{passwords.hashed(own)}", *sorted(lines)]) + "\n"
    write_atomic(folder / "passwords", users.encode(), mode=0o640)
    write_atomic(folder / "access", ACCESS.encode(), mode=0o640)
    main = folder / "mosquitto.conf"
    if not main.exists():
        write_atomic(main, CONFIGURATION.format(folder=folder.resolve()).encode())
    _reload(folder / "mosquitto.pid")


def refresh(config: Config, store: Store) -> None:
    """After a change of users, if this server looks after a mosquitto."""
    if config.mosquitto_dir is not None:
        write(config.mosquitto_dir, config, store)


def _reload(pid_file: Path) -> None:
    """SIGHUP makes mosquitto read its users again; connections stay."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() == "mosquitto":  # pid files outlive their process
            os.kill(pid, signal.SIGHUP)
