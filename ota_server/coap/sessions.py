"""A device's session: which key its messages are under, and which of them were taken already."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ota_server.coap import echo as echoes
from ota_server.coap import mac
from ota_server.security.device_credentials import Keys
from ota_server.store.models import CoapSession

WINDOW = 32  # how far messages may overtake each other


class Denied(Exception):
    """Not shown to be the device's: it has to begin a session with a fresh Echo value."""


class Repeated(Exception):
    """Taken before; the answer was lost."""


def admit(session: Session, keys: Keys, device_id: str, path: str, message: mac.Signed, echo: bytes | None) -> None:
    """Note that `message` is taken, in the transaction that files it. `echo` is the value it carries, if that is good.

    Raises Denied or Repeated; then nothing may be filed.
    """
    row = session.get(CoapSession, device_id, with_for_update=True)
    begins = verify(row, keys, device_id, path, message, echo)
    if row is None:
        raise Denied
    if begins:
        row.echo, row.counter, row.window = echo, message.counter, 1
        return
    ahead = message.counter - row.counter
    if ahead > 0:
        row.window = (row.window << ahead | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1
        row.counter = message.counter
        return
    if -ahead >= WINDOW or row.window >> -ahead & 1:
        raise Repeated
    row.window |= 1 << -ahead


def verify(
    row: CoapSession | None, keys: Keys, device_id: str, path: str, message: mac.Signed, echo: bytes | None
) -> bool:
    """Whether `message` begins a session; raises Denied when it belongs neither to that nor to the present one.

    A session begins with a later Echo value than the last one did: a recording of how one began begins nothing.
    """
    if row is None:
        raise Denied
    device_key = keys.of_session(row)
    later = echo is not None and (row.echo is None or echoes.made_at(echo) > echoes.made_at(row.echo))
    if echo is not None and later and message.verifies(mac.session_key(device_key, echo), path):
        return True
    if row.echo is None or not message.verifies(mac.session_key(device_key, row.echo), path):
        raise Denied
    return False


def may_read(session: Session, keys: Keys, device_id: str, path: str, tag: str) -> bool:
    """Whether the tag in a query is the device's, for this path, in its present session."""
    row = session.get(CoapSession, device_id)
    if row is None or row.echo is None:
        return False
    return mac.query_verifies(mac.session_key(keys.of_session(row), row.echo), path, tag)
