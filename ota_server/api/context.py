"""What views need from the application."""

from __future__ import annotations

from flask import current_app
from prometheus_client import CollectorRegistry

from ota_server.config import Config
from ota_server.mqtt import mosquitto_files
from ota_server.releases.payloads import Payloads
from ota_server.security.device_credentials import Keys
from ota_server.store import Store


def config() -> Config:
    return current_app.extensions["config"]


def store() -> Store:
    return current_app.extensions["store"]


def payloads() -> Payloads:
    return current_app.extensions["payloads"]


def metrics() -> CollectorRegistry:
    return current_app.extensions["metrics"]


def coap_keys() -> Keys:
    return current_app.extensions["coap_keys"]


def wake_worker() -> None:
    """There is something new to publish."""
    current_app.extensions["wake"].set()


def access_changed(device_id: str) -> None:
    """A device's credentials changed: update the brokers, and close connections that used the old ones."""
    users_changed()
    dismiss = current_app.extensions["dismiss"]
    if dismiss is not None:
        dismiss(device_id)


def users_changed() -> None:
    """Who may log in changed: update the brokers, once for however many."""
    reload_users = current_app.extensions["reload_users"]
    if mosquitto_files.refresh(config(), store()) and reload_users is not None:
        reload_users()
