"""Files what devices publish. No peer is trusted: a bad message becomes an alarm and a count, nothing else.

There is one path for all messages, and it takes many of them: they are read without the database (`reading`), what
they are compared with is read at once (`batch`), and all are written in one transaction.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from ota_server import meters
from ota_server.store import Store, alarms, clone_detection, now_ms, telemetry_filing
from ota_server.store.models import Device
from ota_server.uplink import birth, replies
from ota_server.uplink.batch import Batch
from ota_server.uplink.reading import MAX_MESSAGE, Message, Said, Telemetry, read, unstorable
from ota_server.uplink.text import clean
from tidegate.errors import Refused

__all__ = ["MAX_MESSAGE", "Admit", "Message", "set_aside", "take", "take_all"]

log = logging.getLogger("tidegate.ingest")

# Called with the session and the device before anything is filed, in the same transaction; may raise.
Admit = Callable[[Session, Device], None]


def take(store: Store, message: Message, admit: Admit | None = None) -> Refused | None:
    """File one message in one transaction; returns what is wrong with it, if anything is.

    Never raises for what the peer sent, only for what the database does or `admit` refuses.
    """
    return take_all(store, [message], admit)[0]


def take_all(store: Store, messages: Sequence[Message], admit: Admit | None = None) -> list[Refused | None]:
    """File messages in one transaction, in the order in which they came; returns what is wrong with each.

    Raises what the database does: then nothing is filed. It may also raise for something a peer sent that nobody
    thought of; the same message alone does not.
    """
    now = now_ms()
    said = [read(message, now) for message in messages]
    with store.write() as session:
        filing = _Filing(session, now, said, admit)
        outcome = filing.run()
    for one, refused in filing.bad:
        log.warning("%s: bad %s: %s", one.device_id, one.kind, refused)
    meters.taken(outcome)
    return outcome


def set_aside(store: Store, message: Message) -> None:
    """Count a message that cannot be filed, for a reason that is not its sender's, and raise an alarm about it."""
    now = now_ms()
    said = read(message, now)
    with store.write() as session:
        alarms.count(session, "messages the database did not take")
        if said is not None and said.device_id in Batch(session, now, [said.device_id]).known:
            detail = f"{said.kind}: it could not be filed and was set aside; the server's log says why"
            alarms.raise_server_alarm(session, said.device_id, "bad-message", "not-filed", detail)


class _Filing:
    """One transaction. alone: there is one message only, which then has a savepoint."""

    def __init__(self, session: Session, now: int, said: Sequence[Said | None], admit: Admit | None) -> None:
        self._session = session
        self._said = said
        self._admit = admit
        self._alone = len(said) == 1
        self._batch = Batch(session, now, (one.device_id for one in said if one is not None))
        self._packs: list[tuple[int, Said]] = []
        self.bad: list[tuple[Said, Refused]] = []
        self._heard: dict[str, str] = {}  # devices that speak now -> over which transport

    def run(self) -> list[Refused | None]:
        self._load()
        outcome = [self._take(number, one) for number, one in enumerate(self._said)]
        self._file_packs(outcome)
        clone_detection.arrived(self._session, self._batch.born)
        self._batch.finish(self._heard)
        return outcome

    def _load(self) -> None:
        """Read the rows of devices that say anything but telemetry."""
        known = [one for one in self._said if one is not None and one.device_id in self._batch.known]
        whole = {one.device_id for one in known if one.kind != "tele" or self._admit is not None}
        births = {one.device_id for one in known if one.kind == "birth"}
        reports, alarming = ({one.device_id for one in known if one.kind == kind} for kind in ("report", "alarm"))
        self._batch.load(whole, births, reports, alarming)
        for kind in ("report", "alarm"):
            same = [(one.device_id, replies.content(one)) for one in known if one.kind == kind]
            self._batch.load_occurrences(kind, same)

    def _take(self, number: int, one: Said | None) -> Refused | None:
        """File one message, a pack of telemetry later, with the others."""
        if one is None:
            self._batch.count("messages on unknown topics")
            return Refused("topic", "devices do not publish under this name")
        known = self._batch.known.get(one.device_id)
        if known is None:
            self._batch.count("messages of unknown devices")
            return Refused("device", "no such device is registered")
        if known.revoked_at is not None:
            self._batch.count("messages of revoked devices")
            return Refused("revoked", "the device is revoked")
        if self._admit is not None:
            self._admit(self._session, self._batch.device(one.device_id))
        if isinstance(one.body, Refused):
            return self._bad(one, one.body)
        if one.kind == "tele":
            self._packs.append((number, one))
            return None
        try:
            with self._session.begin_nested() if self._alone else contextlib.nullcontext():
                self._file(one)
        except (Refused, RecursionError, OverflowError) as error:
            if not self._alone:
                raise
            return self._bad(one, error if isinstance(error, Refused) else unstorable(error))
        self._hear(one)
        return None

    def _file(self, one: Said) -> None:
        device = self._batch.device(one.device_id)
        if one.kind == "birth":
            birth.file(self._batch, device, one.body, one.message.retained)
        elif one.kind == "state":
            device.online = one.body["online"]
        elif one.kind == "report":
            replies.report(self._batch, device, one)
        elif one.kind == "result":
            replies.result(self._batch, device, one)
        else:
            replies.alarm(self._batch, device, one)

    def _file_packs(self, outcome: list[Refused | None]) -> None:
        if not self._packs:
            return
        arrived = []
        for _, one in self._packs:
            said: Telemetry = one.body
            arrived.append(telemetry_filing.Arrived(one.device_id, one.stream, said.pack))
        lost = telemetry_filing.add(self._session, arrived)
        for (number, one), result in zip(self._packs, lost, strict=True):
            if isinstance(result, Refused):
                outcome[number] = self._bad(one, result)
                continue
            self._hear(one)
            if one.body.wrong_time is not None:
                wrong = f"{one.stream}: a measurement is of {clean(one.body.wrong_time)!r:.40} s since 1970"
                self._raise(one, "clock", "impossible-time", f"{wrong}; filed under now")
            if result:
                self._raise(one, "telemetry-lost", one.stream[:32], f"{result} packs of stream {one.stream}", result)

    def _hear(self, one: Said) -> None:
        if not one.message.retained:
            self._heard[one.device_id] = one.message.protocol

    def _bad(self, one: Said, refused: Refused) -> Refused:
        self._raise(one, "bad-message", refused.reason, f"{one.kind}: {clean(str(refused))}")
        self.bad.append((one, refused))
        return refused

    def _raise(self, one: Said, kind: str, reason: str, detail: str, count: int = 1) -> None:
        alarms.raise_server_alarm(self._session, one.device_id, kind, reason, detail, count)
