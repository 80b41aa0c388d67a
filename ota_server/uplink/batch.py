"""What a batch of messages needs of the database, read once for all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.orm import Session

from ota_server.store import alarms, device_events, groups, offers, rollout_reports, steps, trust_updates
from ota_server.store import data as components
from ota_server.store.models import Alarm, DataTarget, Device, DeviceData, Report, Target

CHUNK = 200  # ids in one statement; databases bound the number of parameters
SEEN_MS = 1000  # how exact it is when a device was last heard: a row is not written again for less
_FILED: dict[str, type[Report | Alarm]] = {"report": Report, "alarm": Alarm}


class Known(NamedTuple):
    """What decides whether a device's messages are taken, and whether its row is written for nothing but that."""

    revoked_at: int | None
    last_seen_at: int | None
    protocol: str
    online: bool


class Batch:
    """One transaction's view. Devices are locked in the order of their ids, so that two batches never wait for each
    other; what is read afterwards stays true until the end, because whoever changes offers changes the devices' rows.
    """

    def __init__(self, session: Session, now: int, device_ids: Iterable[str]) -> None:
        self.session = session
        self.now = now
        self.known: dict[str, Known] = {}
        self.counted: dict[str, int] = {}  # events without a row, by the counter's name
        self.born: list[str] = []  # devices that have said a birth of this boot
        self._devices: dict[str, Device] = {}
        self._held: dict[str, dict[str, DeviceData]] = {}
        self._reports: dict[str, Report | None] = {}
        self._alarms: dict[str, Alarm] = {}  # each device's newest one of its own
        self._crashes: set[tuple[str, str | None, str]] = set()  # device, nonce, content: said in this batch
        self._granted: dict[str, list[rollout_reports.Granted]] = {}
        self._targets: dict[tuple[str, str, str], Target | None] = {}
        self._published: dict[tuple[str, str], dict[str, DataTarget | None]] = {}
        self._newest_trust: int | None = None
        self._occurrences: dict[tuple[str, str, str], int] = {}  # kind, device, content -> how many are filed
        columns = select(Device.id, Device.revoked_at, Device.last_seen_at, Device.protocol, Device.online)
        for chunk in chunks(sorted(set(device_ids))):
            locked = columns.where(Device.id.in_(chunk)).order_by(Device.id).with_for_update(key_share=True)
            for row in session.execute(locked):
                self.known[row[0]] = Known(*row[1:])

    def load(
        self,
        device_ids: Iterable[str],
        births: Collection[str] = (),
        reports: Collection[str] = (),
        alarms: Collection[str] = (),
    ) -> None:
        """Read the rows of these devices, and what their births, reports and alarms are compared with."""
        for chunk in chunks(sorted(set(device_ids))):
            self._devices.update(
                (row.id, row) for row in self.session.scalars(select(Device).where(Device.id.in_(chunk)))
            )
        for chunk in chunks(sorted({*births, *reports, *alarms})):
            self._granted.update(rollout_reports.granted(self.session, chunk))
        for chunk in chunks(sorted(set(births))):
            self._held.update((device_id, {}) for device_id in chunk)
            for row in self.session.scalars(select(DeviceData).where(DeviceData.device_id.in_(chunk))):
                self._held[row.device_id][row.name] = row
        for chunk in chunks(sorted(set(reports))):
            self._reports.update(dict.fromkeys(chunk))
            newest = select(func.max(Report.id)).where(Report.device_id.in_(chunk)).group_by(Report.device_id)
            for report in self.session.scalars(select(Report).where(Report.id.in_(newest))):
                self._reports[report.device_id] = report

        for chunk in chunks(sorted(set(alarms))):
            mine = Alarm.device_id.in_(chunk) & (Alarm.source == "device")
            newest = select(func.max(Alarm.id)).where(mine).group_by(Alarm.device_id)
            for alarm in self.session.scalars(select(Alarm).where(Alarm.id.in_(newest))):
                self._alarms[str(alarm.device_id)] = alarm

    def load_occurrences(self, kind: str, messages: Iterable[tuple[str, str]]) -> None:
        """Count what is filed already of these reports or alarms; each is a device and a content."""
        table: Any = _FILED[kind].__table__.c
        pairs = sorted(set(messages))
        for start in range(0, len(pairs), CHUNK):
            mine = tuple_(table.device_id, table.content).in_(pairs[start : start + CHUNK])
            counted = select(table.device_id, table.content, func.max(table.occurrence)).where(mine)
            for device_id, content, most in self.session.execute(counted.group_by(table.device_id, table.content)):
                self._occurrences[kind, device_id, content] = most

    def next_occurrence(self, kind: str, device_id: str, content: str, again: bool) -> int | None:
        """Which one of the same content this message is; None if it was sent again and is filed."""
        filed = self._occurrences.get((kind, device_id, content), 0)
        if again and filed:
            return None
        self._occurrences[kind, device_id, content] = filed + 1
        return filed + 1

    def device(self, device_id: str) -> Device:
        return self._devices[device_id]

    def held(self, device_id: str) -> dict[str, DeviceData]:
        """The data components of a device by name; a new one is added with `hold`."""
        return self._held[device_id]

    def hold(self, device_id: str, name: str) -> DeviceData:
        """The row of a device's data component, made if there is none."""
        row = self._held[device_id].get(name)
        if row is None:
            row = self._held[device_id][name] = DeviceData(device_id=device_id, name=name)
            self.session.add(row)
        return row

    def last_report(self, device_id: str) -> Report | None:
        return self._reports[device_id]

    def add_report(self, report: Report) -> None:
        self.session.add(report)
        self._reports[report.device_id] = report

    def last_alarm(self, device_id: str) -> Alarm | None:
        return self._alarms.get(device_id)

    def add_alarm(self, device_id: str, alarm: Alarm) -> None:
        self._alarms[device_id] = alarm

    def is_crash_known(self, device: Device, content: str) -> bool:
        """Whether the device has said this crash in its present boot. A boot tells of one crash, the one before it:
        what comes again in the same words came again. The next boot may tell of another that is alike.
        """
        if device.birth_at is None:
            return False
        here = (device.id, device.nonce, content)
        if here in self._crashes:
            return True
        self._crashes.add(here)
        mine = (Alarm.device_id == device.id) & (Alarm.content == content) & (Alarm.at < self.now)
        filed_at = self.session.scalar(select(func.max(Alarm.at)).where(mine))
        return filed_at is not None and filed_at >= device.birth_at

    def count(self, name: str) -> None:
        self.counted[name] = self.counted.get(name, 0) + 1

    def newest_trust(self) -> int:
        if self._newest_trust is None:
            self._newest_trust = trust_updates.newest_version(self.session)
        return self._newest_trust

    def target(self, device: Device) -> Target | None:
        """What devices of this one's group, product and board should run."""
        key = (device.group, device.product, device.board)
        if key not in self._targets:
            with self.session.no_autoflush:
                group = groups.get(self.session, device.group)
                found = None if group is None else offers.target_for(self.session, group, device.product, device.board)
            self._targets[key] = found
        return self._targets[key]

    def granted(self, device: Device) -> list[rollout_reports.Granted]:
        """What rollouts in waves have granted the device."""
        return self._granted.get(device.id, [])

    def offered(self, device: Device) -> Target | None:
        """What the device should run next: on the way to what it should have, what that needs first."""
        with self.session.no_autoflush:
            return steps.first(self.session, self._meant(device), device.sequence, device.micropython)

    def _meant(self, device: Device) -> Target | None:
        """What the device should have: what its group says, or something newer that a rollout granted it."""
        target, granted = self.target(device), self.granted(device)
        if not granted:
            return target
        with self.session.no_autoflush:
            group = groups.get(self.session, device.group)
        if group is None or offers.is_pinned(group, device.product):
            return target
        return rollout_reports.better(granted, device, target)

    def published(self, device: Device) -> dict[str, DataTarget | None]:
        """What was published to all of this one's product and board, by component; None where it was withdrawn."""
        key = (device.product, device.board)
        if key not in self._published:
            names = select(DataTarget.name).where(DataTarget.product == key[0], DataTarget.board == key[1])
            names = names.where(DataTarget.held.is_(False))
            with self.session.no_autoflush:
                self._published[key] = {
                    name: components.newest_offer(self.session, *key, name)
                    for name in self.session.scalars(names.distinct()).all()
                }
        return self._published[key]

    def finish(self, heard: dict[str, str]) -> None:
        """Write what is the same for all. heard: the devices that spoke now and have no row loaded, with how."""
        by_protocol: dict[str, list[str]] = {}
        for device_id, protocol in heard.items():
            row = self.known[device_id]
            if not row.online and row.last_seen_at is not None:
                device_events.heard_again(self.session, device_id, row.last_seen_at, self.now)
            if device_id in self._devices:
                self._devices[device_id].last_seen_at = self.now
                self._devices[device_id].protocol = protocol
            elif row.protocol != protocol or abs(self.now - (row.last_seen_at or 0)) >= SEEN_MS:
                by_protocol.setdefault(protocol, []).append(device_id)
        for protocol, device_ids in by_protocol.items():
            for chunk in chunks(device_ids):
                said = update(Device).where(Device.id.in_(chunk)).values(last_seen_at=self.now, protocol=protocol)
                self.session.execute(said, execution_options={"synchronize_session": False})
        for name, count in self.counted.items():
            alarms.count(self.session, name, count)


def chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
