"""Releases, data and trust updates: published, withdrawn, fetched again."""

from __future__ import annotations

from typing import NotRequired

from pydantic import with_config

from tidegate.client.shapes.terms import REST, Base64, Count, Sequence, TypedDict


@with_config(REST)
class Published(TypedDict):
    published: bool
    channel: str
    warnings: list[str]


@with_config(REST)
class Sbom(TypedDict):
    product: str
    version: str
    sequence: Sequence
    document: Base64
    signature: Base64


@with_config(REST)
class PublishedData(TypedDict):
    published: bool


@with_config(REST)
class Base(TypedDict):
    version: NotRequired[str]
    sequence: NotRequired[Sequence]


@with_config(REST)
class FetchedRelease(TypedDict):
    product: str
    vendor: str
    version: str
    sequence: Sequence
    envelopes: dict[str, Base64]
    bases: NotRequired[dict[str, Base] | None]


@with_config(REST)
class FetchedReleases(TypedDict):
    releases: list[FetchedRelease]


@with_config(REST)
class Withdrawn(TypedDict):
    product: str
    version: str
    board: str


@with_config(REST)
class PublishedTrust(TypedDict):
    version: Count
    withdrawn: list[Withdrawn]
