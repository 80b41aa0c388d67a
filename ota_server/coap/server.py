"""The CoAP endpoint: an event loop in a thread of its own, beside HTTP and the MQTT worker."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from aiocoap import EMPTY, RST, Context, Message
from aiocoap.error import Error

from ota_server.coap.resources import Resources, address_of
from ota_server.commands.policy import CommandPolicy
from ota_server.errors import log_trouble
from ota_server.loop_thread import LoopThread
from ota_server.releases.payloads import Payloads
from ota_server.security.device_credentials import Keys
from ota_server.store import Store, downlink_queue, now_ms
from ota_server.token_bucket import TokenBuckets
from tidegate.errors import TidegateError

log = logging.getLogger("tidegate.coap")

POLL_S = 0.5  # how soon observers are notified of what the API or another process wrote
HOUSEKEEPING_S = 30
SILENT_MS = 900_000  # a CoAP device that was silent for so long counts as offline
STOP_S = 10
# A flood is cut off before it costs memory: the library remembers every request for 247 s (RFC 7252, section 4.8.2).
RATE, BURST = 150, 1000  # requests a second of one host, and at once: a payload may come as fast as the network allows
MOST_REMEMBERED = 50_000
_MOST_HOSTS = 10_000


class CoapServer:
    """Listens on `bind` (host, port) from `start` to `stop`."""

    def __init__(
        self,
        store: Store,
        payloads: Payloads,
        keys: Keys,
        policy: CommandPolicy,
        bind: tuple[str, int],
        wake: Callable[[], None],
    ) -> None:
        self._make_resources = lambda: Resources(store, payloads, keys, policy, wake)
        self._bind = bind
        self._port = 0
        self._thread = LoopThread("coap", self._main)

    def start(self) -> tuple[str, int]:
        """Listen; returns the real (host, port). Raises OSError when the address cannot be used."""
        # The library lets several sockets share an address, so that a second server would go unnoticed.
        family = socket.AF_INET6 if ":" in self._bind[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(self._bind)
        try:
            self._thread.start()
        except Exception as error:
            raise TidegateError(
                f"the CoAP endpoint did not start: {error}", "The CoAP library needs IPv6 switched on"
            ) from error
        return self._bind[0], self._port

    def stop(self) -> None:
        self._thread.stop(STOP_S)

    async def _main(self, thread: LoopThread) -> None:
        # Below this level the library's logger has only lines about what peers send, one each.
        logging.getLogger("coap-server").setLevel(logging.CRITICAL)
        resources = self._make_resources()
        context = await Context.create_server_context(resources, bind=self._bind, transports=["udp6"])
        try:
            manager = context.request_interfaces[0].token_interface
            self._port = manager.message_interface.transport.get_extra_info("socket").getsockname()[1]
            _guard(manager, resources, asyncio.get_running_loop())
            thread.ready()
            await self._notify(resources, thread.stopping)
        finally:
            await context.shutdown()
            resources.close()

    async def _notify(self, resources: Resources, stopping: asyncio.Event) -> None:
        """Notify observers of what changed, until `stopping` is set."""
        known: dict[str, downlink_queue.Standing] = {}
        clean_at = time.monotonic() + HOUSEKEEPING_S
        while not stopping.is_set():
            try:
                known = await self._round(resources, known)
                if time.monotonic() >= clean_at:
                    clean_at = time.monotonic() + HOUSEKEEPING_S
                    await asyncio.to_thread(_clean, resources)
            except Exception as error:  # the database may be away for a while; this task must outlive that
                log_trouble(log, error, "could not look for news of devices that speak CoAP")
            try:
                await asyncio.wait_for(stopping.wait(), POLL_S)
            except TimeoutError:
                continue

    @staticmethod
    async def _round(
        resources: Resources, known: dict[str, downlink_queue.Standing]
    ) -> dict[str, downlink_queue.Standing]:
        observed = resources.observers.devices()
        if not observed:
            return {}
        now = await asyncio.to_thread(resources.standings, observed)
        for device_id, standing in now.items():
            if known.get(device_id) != standing:
                for observer in resources.observers.of_device(device_id):
                    observer.changed.set()
        return now


def _clean(resources: Resources) -> None:
    resources.count_denied()
    with resources.store.write() as session:
        downlink_queue.silent(session, now_ms() - SILENT_MS)


def _guard(manager: Any, resources: Resources, loop: asyncio.AbstractEventLoop) -> None:
    """Wrap the library's message layer: drop floods, and note endpoints that do not answer."""
    dispatch, failed = manager.dispatch_message, manager.token_manager.dispatch_error
    hosts = TokenBuckets(RATE, BURST, _MOST_HOSTS)

    def receive(message: Message) -> None:
        if message.code is EMPTY:
            for observer in resources.observers.at(address_of(message.remote)):
                if observer.sent is not None and observer.sent[1] == message.mid:
                    if message.mtype is RST:  # it restarted and knows of no observation
                        loop.run_in_executor(None, resources.not_delivered, observer, False)
                    else:
                        observer.sent = None
        if message.code.is_request():
            known = (message.remote, message.mid) in manager._recent_messages
            if not known and (
                len(manager._recent_messages) >= MOST_REMEMBERED or not hosts.take(message.remote.sockaddr[0])
            ):
                return
        dispatch(message)

    def unreachable(error: Error, remote: Any) -> None:
        for observer in resources.observers.at(address_of(remote)):
            loop.run_in_executor(None, resources.not_delivered, observer, True)
        failed(error, remote)

    interface = manager.message_interface
    parse = interface.datagram_msg_received

    def read(*datagram: Any) -> None:
        try:
            parse(*datagram)
        except Exception as error:  # not UTF-8 and the like: RFC 7252, section 4.2, lets us ignore it
            log.debug("a datagram could not be read: %s", error)

    interface.datagram_msg_received = read
    manager.dispatch_message = receive
    manager.token_manager.dispatch_error = unreachable
