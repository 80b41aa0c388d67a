"""GET /metrics: what Prometheus collects, for whoever has a token with the scope metrics."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

import tidegate
from ota_server import meters
from ota_server.api import context
from ota_server.api.auth import requires
from ota_server.api.validate import takes
from ota_server.errors import log_trouble
from ota_server.fleet import figures
from ota_server.store import Store, now_ms

log = logging.getLogger("tidegate.metrics")

blueprint = Blueprint("metrics", __name__)

FRESH_S = 10.0  # what the database knows is asked for at most so often, however many ask here


class _Fleet(Collector):
    """What the database knows. One thread asks it; others meanwhile get what was known before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asking = threading.Lock()
        self._known: list[Metric] = []
        self._until = 0.0

    def collect(self) -> Iterator[Metric]:
        if time.monotonic() >= self._until and self._asking.acquire(blocking=not self._known):
            try:
                if time.monotonic() >= self._until:
                    self._ask()
            finally:
                self._asking.release()
        yield from self._known

    def _ask(self) -> None:
        began = time.monotonic()
        up = GaugeMetricFamily("tidegate_database_up", "Whether the database answered", 1)
        try:
            with self._store.read() as session:
                known = _families(figures.read(session, now_ms()))
        except Exception as error:  # what this process counts is shown all the same
            log_trouble(log, error, "the fleet's figures could not be read")
            known, up = [], GaugeMetricFamily("tidegate_database_up", "Whether the database answered", 0)
        took = GaugeMetricFamily("tidegate_figures_seconds", "How long it took", time.monotonic() - began)
        self._known = [up, took, *known]
        self._until = time.monotonic() + FRESH_S


def _families(found: figures.Figures) -> list[Metric]:
    devices = GaugeMetricFamily(
        "tidegate_devices", "Registered devices that are not revoked", labels=["product", "version", "online"]
    )
    for (product, version, online), many in found.versions.items():
        devices.add_metric([product, version, "true" if online else "false"], many)
    states = GaugeMetricFamily("tidegate_devices_in_state", "Devices by how they stand", labels=["state"])
    for state, many in found.states.items():
        states.add_metric([state], many)
    rollouts = GaugeMetricFamily(
        "tidegate_rollout_devices",
        "Devices that rollouts in waves have granted their release, by how they stand; rollouts that are not over",
        labels=["product", "version", "rollout", "state"],
    )
    for labels, many in found.rollouts.items():
        rollouts.add_metric(list(labels), many)
    unsent = GaugeMetricFamily("tidegate_offers_unsent", "Offers that the broker does not have yet", found.unsent)
    commands = GaugeMetricFamily("tidegate_commands", "Commands by state", labels=["state"])
    for state, many in found.commands.items():
        commands.add_metric([state], many)
    events = CounterMetricFamily("tidegate_events", "Counters on the status page", labels=["event"])
    for event, many in found.events.items():
        events.add_metric([event], many)
    calling = GaugeMetricFamily(
        "tidegate_alarms_calling",
        "Alarms of a week that nobody has acknowledged and that are not muted; of the newest 500",
        labels=["kind"],
    )
    for kind, many in found.calling.items():
        calling.add_metric([kind], many)
    return [devices, states, rollouts, unsent, commands, events, calling]


def init_app(app: Flask) -> None:
    fleet = CollectorRegistry()
    fleet.register(_Fleet(app.extensions["store"]))
    build = GaugeMetricFamily("tidegate_build_info", "This version", labels=["version"])
    build.add_metric([tidegate.__version__], 1)
    fleet.register(_Constant(build))
    app.extensions["metrics"] = fleet

    @app.before_request
    def begin() -> None:
        g.metrics_began = time.monotonic()

    @app.after_request
    def end(response: Response) -> Response:
        route = "unknown" if request.url_rule is None else request.url_rule.rule
        took = time.monotonic() - g.get("metrics_began", time.monotonic())
        meters.answered(request.method, route, response.status_code, took)
        return response


class _Constant(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


@blueprint.get("/metrics")
@requires("metrics")
@takes(answer="text/plain")
def metrics() -> Response:
    """Figures of this process and of the fleet, as Prometheus reads them."""
    body = generate_latest(meters.REGISTRY) + generate_latest(context.metrics())
    return Response(body, content_type=CONTENT_TYPE_LATEST)
