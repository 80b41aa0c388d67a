"""Which devices of a list are meant: the words of the page's list of devices, as options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_SORTS = {"name": "name", "board": "board", "group": "group", "version": "version", "seen": "last_seen"}
_EQUAL = ("group", "board", "product", "version")
_OPTIONS = (
    click.option("--search", metavar="TEXT", help="Those with TEXT in their id or name."),
    click.option("--group", help="Those of this group."),
    click.option("--board", help="Those of this board."),
    click.option("--product", help="Those of this product."),
    click.option("--version", help="Those that run this version."),
    click.option("--sort", type=click.Choice(list(_SORTS)), help="By this; seen: the last heard first. Default: id."),
    click.option("--online/--offline", default=None, help="Those that are there, or those that are not."),
)


@dataclass(frozen=True)
class Filters:
    """Conditions, all of which must hold; None: any. sort: a member of devices; those without one come last."""

    search: str | None = None
    group: str | None = None
    board: str | None = None
    product: str | None = None
    version: str | None = None
    online: bool | None = None
    sort: str | None = None

    @property
    def given(self) -> bool:
        return self != Filters(sort=self.sort)

    def of(self, devices: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of `devices`, as the server lists them, that are meant."""
        found = [one for one in devices if self._fits(one)]
        if self.sort is None:
            return found
        key = _SORTS[self.sort]
        newest_first = key == "last_seen"  # times of the server: all of one form
        with_it = sorted((one for one in found if one.get(key)), key=lambda one: str(one[key]), reverse=newest_first)
        return with_it + [one for one in found if not one.get(key)]

    def _fits(self, device: dict[str, Any]) -> bool:
        if any(getattr(self, name) not in (None, device.get(name)) for name in _EQUAL):
            return False
        if self.online is not None and self.online != bool(device.get("online")):
            return False
        part = (self.search or "").lower()
        return any(part in (device.get(name) or "").lower() for name in ("id", "name"))


def filter_options(function: F) -> F:
    """The options, as `filters`."""

    @functools.wraps(function)
    def with_filters(**words: Any) -> Any:
        given = {name: words.pop(name) for name in Filters.__dataclass_fields__}
        return function(**words, filters=Filters(**given))

    for option in reversed(_OPTIONS):
        with_filters = option(with_filters)
    return with_filters  # type: ignore[return-value]
