"""Sends a list of devices to a server, some hundreds in each request, which it takes whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tidegate.client.server import MAX_AT_ONCE, Server
from tidegate.client.transport import ServerError
from tidegate.errors import TidegateError
from tidegate.registration.credentials import Credentials
from tidegate.registration.lists import Listed

_NO_SUCH_ROUTE = (404, 405)


def register(
    server: Server,
    request: str,
    devices: Sequence[Listed],
    filed: Callable[[list[Credentials]], None],
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[str]:
    """Register these devices; filed(credentials) is called after each request, before the next is sent.

    Returns the ids of those that were there as listed and whose credentials the server does not give again. What it
    refuses raises ServerError: of that request nothing is registered, the ones before it are.
    """
    known: list[str] = []
    for start in range(0, len(devices), MAX_AT_ONCE):
        batch = devices[start : start + MAX_AT_ONCE]
        progress(start, len(devices), batch[0].id)
        try:
            answer = server.add_devices(request, [one._asdict() for one in batch])
        except ServerError as error:
            if error.status in _NO_SUCH_ROUTE:
                raise TidegateError(
                    "this server registers one device at a time: it is of an older version",
                    "Bring it to this version, or: tidegate device add ID --board BOARD",
                ) from error
            raise
        _check(batch, [(one["id"], one["mqtt"]["user"]) for one in answer["devices"]], answer["known"])
        known += answer["known"]
        filed([Credentials(one["id"], one["mqtt"]["password"], one["coap"]["key"]) for one in answer["devices"]])
    progress(len(devices), len(devices), "")
    return known


def _check(batch: Sequence[Listed], new: Sequence[tuple[str, str]], known: Sequence[str]) -> None:
    """A board is who its credentials say: refuse those of any other device than was asked for."""
    users = [user for _, user in new]
    if users != [device for device, _ in new] or sorted([*users, *known]) != sorted(one.id for one in batch):
        raise TidegateError(
            "the server answers with credentials of other devices than were listed",
            "None of them was written. Look at what is registered: tidegate device list",
        )
