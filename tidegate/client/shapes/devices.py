"""Devices, what they were registered with, and the groups they are in."""

from __future__ import annotations

from typing import NotRequired

from pydantic import with_config

from tidegate.client.shapes.terms import REST, Count, Hex, Id, Map, Proof, Sequence, Text, Time, TypedDict


@with_config(REST)
class Update(TypedDict):
    phase: NotRequired[Text]
    at: NotRequired[float | None]


@with_config(REST)
class Named(TypedDict):
    """A release as something refers to it."""

    version: str
    state: NotRequired[Text]


@with_config(REST)
class Trust(TypedDict):
    version: NotRequired[int | None]
    state: NotRequired[Text]


@with_config(REST)
class Device(TypedDict):
    id: Id
    name: NotRequired[Text]
    board: NotRequired[Text]
    group: NotRequired[Text]
    protocol: NotRequired[Text]
    online: NotRequired[bool | None]
    revoked: NotRequired[Time | None]
    cloned: NotRequired[Time | None]
    version: NotRequired[Text]
    nonce: NotRequired[Hex | None]
    birth_proof: NotRequired[Proof | None]
    reset_cause: NotRequired[Text]
    born: NotRequired[Time | None]
    last_seen: NotRequired[Time | None]
    settings: NotRequired[Map | None]
    update: NotRequired[Update | None]
    offer: NotRequired[Named | None]
    trust: NotRequired[Trust | None]


@with_config(REST)
class Devices(TypedDict):
    devices: list[Device]


@with_config(REST)
class Account(TypedDict):
    user: str
    password: str


@with_config(REST)
class Key(TypedDict):
    key: Hex


@with_config(REST)
class NewDevice(TypedDict):
    id: Id
    mqtt: Account
    coap: Key


@with_config(REST)
class NewDevices(TypedDict):
    devices: list[NewDevice]
    known: list[Id]


@with_config(REST)
class Claim(TypedDict):
    id: Id
    device: NotRequired[Text]
    name: NotRequired[Text]
    expires: NotRequired[Text]


@with_config(REST)
class NewClaim(Claim):
    claim: str


@with_config(REST)
class Claims(TypedDict):
    claims: list[Claim]


@with_config(REST)
class RevokedClaim(TypedDict):
    id: Id


@with_config(REST)
class Pinned(TypedDict):
    product: str
    version: str
    sequence: NotRequired[Sequence]


@with_config(REST)
class Group(TypedDict):
    name: str
    channel: str
    release: Pinned | None
    settings: Map
    devices: Count


@with_config(REST)
class Groups(TypedDict):
    digest: str
    groups: list[Group]


@with_config(REST)
class Labels(TypedDict):
    id: Id
    labels: dict[str, str]
