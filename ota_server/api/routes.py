"""All blueprints of the API, and what goes around each request."""

from __future__ import annotations

from flask import Flask

from ota_server.api import (
    access_log,
    alarms,
    audit,
    commands,
    data,
    deadlocks,
    devices,
    enrol,
    groups,
    health,
    labels,
    metrics,
    openapi,
    payloads,
    problems,
    releases,
    request_limit,
    rollouts,
    sbom,
    sign_in_tickets,
    slo,
    status,
    telemetry,
    timeline,
    trust,
    waves,
    webhooks,
)


def init_app(app: Flask) -> None:
    problems.init_app(app)
    metrics.init_app(app)
    access_log.init_app(app)
    request_limit.init_app(app)
    app.after_request(audit.add_head)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(metrics.blueprint)
    app.register_blueprint(payloads.blueprint)
    app.register_blueprint(openapi.blueprint, url_prefix="/api/v1")
    for module in (
        releases,
        rollouts,
        sbom,
        slo,
        waves,
        labels,
        groups,
        data,
        trust,
        devices,
        enrol,
        telemetry,
        timeline,
        commands,
        alarms,
        audit,
        sign_in_tickets,
        status,
        webhooks,
    ):
        app.register_blueprint(module.blueprint, url_prefix="/api/v1")
    deadlocks.init_app(app)
