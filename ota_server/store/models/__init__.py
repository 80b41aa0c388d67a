"""The tables. Times are milliseconds since 1970 UTC, digests lower-case hex, so every database compares them alike.

All are imported here, because SQLAlchemy finds the other side of a relationship only among what is.
"""

from __future__ import annotations

from ota_server.store.clock import now_ms
from ota_server.store.models._base import Base, RowId
from ota_server.store.models.access import Audit, Token, WebSession
from ota_server.store.models.alarms import Alarm, AlarmMute
from ota_server.store.models.commands import Command, CommandPart, CommandStep
from ota_server.store.models.devices import (
    Claim,
    CoapSession,
    Device,
    DeviceData,
    DeviceEvent,
    DeviceLabel,
    Group,
    Report,
    VersionCount,
)
from ota_server.store.models.releases import (
    ChannelRelease,
    DataTarget,
    Payload,
    Release,
    ReleaseSbom,
    Target,
    TrustUpdate,
)
from ota_server.store.models.rollouts import ErrorBudget, Rollout, RolloutDevice, RolloutEvent, RolloutEvidence
from ota_server.store.models.telemetry import Point, Rollup, Series, Stream
from ota_server.store.models.upkeep import Absence, ClockSeen, Counter, Progress
from ota_server.store.models.webhooks import Webhook, WebhookDelivery

__all__ = [
    "Absence",
    "Alarm",
    "AlarmMute",
    "Audit",
    "Base",
    "ChannelRelease",
    "Claim",
    "ClockSeen",
    "CoapSession",
    "Command",
    "CommandPart",
    "CommandStep",
    "Counter",
    "DataTarget",
    "Device",
    "DeviceData",
    "DeviceEvent",
    "DeviceLabel",
    "ErrorBudget",
    "Group",
    "Payload",
    "Point",
    "Progress",
    "Release",
    "ReleaseSbom",
    "Report",
    "Rollout",
    "RolloutDevice",
    "RolloutEvent",
    "RolloutEvidence",
    "Rollup",
    "RowId",
    "Series",
    "Stream",
    "Target",
    "Token",
    "TrustUpdate",
    "VersionCount",
    "WebSession",
    "Webhook",
    "WebhookDelivery",
    "now_ms",
]
