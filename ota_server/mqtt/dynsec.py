"""Users and rights in mosquitto's dynamic security plugin: the expected state, and the commands that lead to it.

The plugin keeps them in a file of its own and takes commands over MQTT (topic CONTROL). Up to mosquitto 2.0 it does not
know %u in a topic, so each device has a role of its own: the two-line access rule of docs/wire.cddl with its id in it.
It takes passwords only in clear by command, hashed only in its file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.errors import TidegateError

CONTROL = "$CONTROL/dynamic-security/v1"
RESPONSE = f"{CONTROL}/response"
SERVER_ROLE = "tidegate-server"
OURS = "tidegate device"  # the text name of users that this server may change and remove
PLUGIN = "mosquitto_dynamic_security.so"
_FOLDERS = ("/usr/lib/*-linux-gnu*", "/usr/lib64", "/usr/lib", "/usr/local/lib", "/opt/homebrew/lib")

Json = dict[str, Any]


class Account(NamedTuple):
    """A device's user. mark: changes with the password, and says nothing about it."""

    user: str
    mark: str


def mark(password_hash: str) -> str:
    """What is noted beside a user, so that we know later which password the plugin has of it."""
    return hashlib.sha256(b"tidegate mark " + password_hash.encode()).hexdigest()[:24]


def role_name(device_id: str) -> str:
    """The name of a device's role; other roles have no such names."""
    return f"tidegate-device-{device_id}"


def device_rights(device_id: str) -> list[Json]:
    """A device writes below its own up/ and reads below its own down/."""
    down = f"tg/{device_id}/down/#"
    return [
        _right("publishClientSend", f"tg/{device_id}/up/#"),
        _right("publishClientReceive", down),
        _right("subscribePattern", down),
    ]


SERVER_RIGHTS = [
    {"acltype": kind, "topic": topic, "priority": 0, "allow": True}
    for kind, topic in (
        ("publishClientSend", "tg/+/down/#"),
        ("publishClientReceive", "tg/+/up/#"),
        ("subscribePattern", "tg/+/up/#"),
        ("publishClientSend", CONTROL),
        ("publishClientReceive", RESPONSE),
        ("subscribeLiteral", RESPONSE),
    )
]
# What no role allows is refused. Unsubscribing is harmless.
DEFAULTS = {"publishClientSend": False, "publishClientReceive": False, "subscribe": False, "unsubscribe": True}


def _right(kind: str, topic: str) -> Json:
    return {"acltype": kind, "topic": topic, "priority": 0, "allow": True}


# ------------------------------------------------------------------ the plugin's file


def file(server_user: str, server_hash: str, devices: Iterable[tuple[str, str]]) -> bytes:
    """The plugin's file for a broker that has none: the server's user, and `devices` as (id, password hash)."""
    clients = [_client(server_user, "tidegate server", server_hash, SERVER_ROLE)]
    roles: list[Json] = [{"rolename": SERVER_ROLE, "acls": SERVER_RIGHTS}]
    for device_id, password_hash in devices:
        clients.append(_client(device_id, OURS, password_hash, role_name(device_id)) | {"clientid": device_id})
        roles.append({"rolename": role_name(device_id), "acls": device_rights(device_id)})
    return json.dumps({"defaultACLAccess": DEFAULTS, "clients": clients, "roles": roles}, indent=1).encode()


def _client(user: str, kind: str, password_hash: str, role: str) -> Json:
    # Our hashes are PBKDF2-HMAC-SHA512, which is also what the plugin makes (ota_server.security.password_hashes).
    _, _, rounds, salt, digest = password_hash.split("$")
    return {
        "username": user,
        "textname": kind,
        "textdescription": mark(password_hash),
        "roles": [{"rolename": role}],
        "password": digest,
        "salt": salt,
        "iterations": int(rounds),
    }


def plugin() -> Path:
    """Where mosquitto's package has put the plugin."""
    for pattern in _FOLDERS:
        folder = Path(pattern)
        for found in sorted(folder.parent.glob(f"{folder.name}/{PLUGIN}")):
            return found
    raise TidegateError(
        f"{PLUGIN} is not installed on this machine",
        "Debian and Ubuntu: apt install mosquitto. For a broker elsewhere: name its place with --plugin",
    )


# ------------------------------------------------------------------ commands over MQTT


class Present(NamedTuple):
    """What the plugin has: users and roles as its lists give them, by name, and what is allowed without a role."""

    clients: Mapping[str, Json]
    roles: Mapping[str, list[Json]]
    defaults: Mapping[str, bool]


def is_current(present: Present, account: Account) -> bool:
    """Whether the plugin has this user with this password and exactly its rights."""
    client = present.clients.get(account.user)
    return (
        client is not None
        and has_password(present, account)
        and not client.get("disabled")
        and not client.get("groups")
        and (client.get("clientid"), client.get("textname")) == (account.user, OURS)
        and [role.get("rolename") for role in client.get("roles", [])] == [role_name(account.user)]
        and _rights_stand(present, account.user)
    )


def has_password(present: Present, account: Account) -> bool:
    """Whether the plugin has the user with the password that the mark stands for."""
    return present.clients.get(account.user, {}).get("textdescription") == account.mark


def _rights_stand(present: Present, device_id: str) -> bool:
    return _as_set(present.roles.get(role_name(device_id), [])) == _as_set(device_rights(device_id))


def _as_set(rights: Iterable[Json]) -> set[tuple[Any, ...]]:
    return {(right.get("acltype"), right.get("topic"), right.get("allow")) for right in rights}


def give(present: Present, account: Account, password: str | None) -> list[Json]:
    """Commands that bring the user up to date; without a password it keeps the one it has.

    Its connection is closed, unless the user is new.
    """
    role, user = role_name(account.user), account.user
    commands: list[Json] = []
    if role not in present.roles:
        commands.append({"command": "createRole", "rolename": role, "acls": device_rights(user)})
    elif not _rights_stand(present, user):
        commands.append({"command": "modifyRole", "rolename": role, "acls": device_rights(user)})
    there = present.clients.get(user)
    facts: Json = {"username": user, "clientid": user, "textname": OURS, "textdescription": account.mark}
    # The client id is fixed too: who takes another's client id over ends that one's connection.
    facts |= {"roles": [{"rolename": role}], "groups": []} | ({} if password is None else {"password": password})
    commands.append({"command": "createClient" if there is None else "modifyClient", **facts})
    if there is not None and there.get("disabled"):
        commands.append({"command": "enableClient", "username": user})
    return commands


def take(present: Present, user: str) -> list[Json]:
    """Commands that remove the user and its rights; its connections are cut."""
    commands: list[Json] = []
    if user in present.clients:
        commands.append({"command": "deleteClient", "username": user})
    if role_name(user) in present.roles:
        commands.append({"command": "deleteRole", "rolename": role_name(user)})
    return commands


def ours(present: Present) -> set[str]:
    """Devices that this server has made users or roles for."""
    prefix = role_name("")
    users = {user for user, client in present.clients.items() if client.get("textname") == OURS}
    return users | {role.removeprefix(prefix) for role in present.roles if role.startswith(prefix)}


def defaults_wanted(present: Present) -> list[Json]:
    """The command that closes what should be closed to those without a right, if it is open."""
    if dict(present.defaults) == DEFAULTS:
        return []
    rights = [{"acltype": kind, "allow": allow} for kind, allow in DEFAULTS.items()]
    return [{"command": "setDefaultACLAccess", "acls": rights}]


def encode(commands: list[Json], tags: list[str]) -> bytes:
    """One message with these commands; each answer carries its tag."""
    tagged = [{**command, "correlationData": tag} for command, tag in zip(commands, tags, strict=True)]
    return json.dumps({"commands": tagged}).encode()


def answers(message: bytes) -> dict[str, Json]:
    """The answers in one message by tag; what has none, or is not such a message, is left out."""
    try:
        found = json.loads(message)["responses"]
        return {answer["correlationData"]: answer for answer in found if isinstance(answer.get("correlationData"), str)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
