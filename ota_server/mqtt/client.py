"""Makes the server's paho clients: login, TLS, the pauses between attempts to connect."""

from __future__ import annotations

import hashlib

from paho.mqtt.enums import CallbackAPIVersion

from ota_server.mqtt.publishes import Client, Take
from ota_server.mqtt.url import BrokerUrl

KEEPALIVE_S = 30
RECONNECT_MIN_S, RECONNECT_MAX_S = 1, 30


def make(broker: BrokerUrl, client_id: str, *, clean_session: bool, take: Take | None = None) -> Client:
    """A client that is not connected yet; once started it connects again whenever the connection is lost.

    It tries the nodes of the broker in turn, from the first one.

    take: gets the messages that come, and acknowledges them later, in place of `on_message`.
    """
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=clean_session,
        reconnect_on_failure=True,
    )
    client.take = take
    client.addresses = broker.addresses
    client.username_pw_set(broker.user, broker.password)
    if broker.tls:
        client.tls_set_context(broker.tls)
    client.reconnect_delay_set(RECONNECT_MIN_S, RECONNECT_MAX_S)
    return client


def id_of(password: str, purpose: str = "server") -> str:
    """The client id of this server for `purpose`.

    It is always the same, so that the broker knows its session, and secret, so that nobody else can take that
    session over.
    """
    return f"tidegate-{purpose}-" + hashlib.sha256(b"client id " + password.encode()).hexdigest()[:16]
