"""What this process counts for /metrics: messages, requests, housekeeping. What the database knows is not counted here.

Labels are few and bounded: no device, no path that a caller chose, no text that a peer sent.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from tidegate.errors import Refused

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_MOST_REASONS = 50
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_FAST = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_LAG = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)

_filed = Counter("tidegate_messages_filed", "Messages of devices that are in the database", registry=REGISTRY)
_refused = Counter("tidegate_messages_refused", "Messages refused, by why", ["reason"], registry=REGISTRY)
_lag = Histogram(
    "tidegate_ingest_lag_seconds",
    "From a message's arrival here to its commit, of the oldest in each batch",
    buckets=_LAG,
    registry=REGISTRY,
)
_queue = Gauge("tidegate_ingest_queue_messages", "Messages that wait to be filed", registry=REGISTRY)
_requests = Histogram(
    "tidegate_http_request_seconds",
    "HTTP requests by route and status",
    ["method", "route", "status"],
    buckets=_FAST,
    registry=REGISTRY,
)
_kept_house = Gauge(
    "tidegate_housekeeping_success_timestamp_seconds", "When a work last came to its end", ["work"], registry=REGISTRY
)
_house_s = Gauge("tidegate_housekeeping_last_seconds", "How long it took then", ["work"], registry=REGISTRY)
_house_failed = Counter("tidegate_housekeeping_failures", "Works that failed", ["work"], registry=REGISTRY)
_reasons: set[str] = set()


def taken(outcome: Iterable[Refused | None]) -> None:
    """A batch was committed; what is wrong with each of its messages."""
    said = Tally(None if refused is None else refused.reason for refused in outcome)
    _filed.inc(said.pop(None, 0))
    for reason, many in said.items():
        if reason not in _reasons and len(_reasons) >= _MOST_REASONS:
            reason = "other"
        _reasons.add(str(reason))
        _refused.labels(reason).inc(many)


def filed_after(seconds: float) -> None:
    """How long the oldest message of a batch waited for its commit."""
    _lag.observe(max(0.0, seconds))


def watch_queue(depth: Callable[[], int]) -> None:
    """Where the number of messages that wait is asked for."""
    _queue.set_function(depth)


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """A request. route: as it is declared, with its parameters' names in place of their values."""
    named = method if method in _METHODS else "other"
    named = method if method in _METHODS else "other"
    _requests.labels(named, route, status).observe(seconds)


def kept_house(work: str, at: float, seconds: float) -> None:
    """at: seconds since 1970."""
    _kept_house.labels(work).set(at)
    _house_s.labels(work).set(seconds)


def house_failed(work: str) -> None:
    _house_failed.labels(work).inc()
