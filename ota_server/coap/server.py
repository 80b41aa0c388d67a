"""The CoAP endpoint: an event loop in a thread of its own, beside HTTP and the MQTT worker."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from aiocoap import EMPTY, RST, Context, Message
from aiocoap.error import Error

from ota_server.coap.site import Site, address_of
from ota_server.commands.policy import Relay
from ota_server.releases.payloads import Payloads
from ota_server.security.credentials import Keys
from ota_server.store import Store, downlink, now_ms
from tidegate.errors import TidegateError

log = logging.getLogger("tidegate.coap")

POLL_S = 0.5  # how soon what the API or another process wrote is told to those that observe it
HOUSEKEEPING_S = 30
SILENT_MS = 900_000  # a device that spoke CoAP and has not been heard for so long is not there
START_S = 10
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
        relay: Relay,
        bind: tuple[str, int],
        wake: Callable[[], None],
    ) -> None:
        self._site_of = lambda: Site(store, payloads, keys, relay, wake)
        self._bind = bind
        self._started = threading.Event()
        self._failed: Exception | None = None
        self._port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="coap", daemon=True)

    def start(self) -> tuple[str, int]:
        """Returns the address it really listens on. Raises OSError when it cannot."""
        # The library lets several sockets share an address, so that a second server would go unnoticed.
        family = socket.AF_INET6 if ":" in self._bind[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(self._bind)
        self._thread.start()
        if not self._started.wait(START_S) or self._failed is not None:
            raise TidegateError(
                f"the CoAP endpoint did not start: {self._failed}", "The CoAP library needs IPv6 switched on"
            )
        return self._bind[0], self._port

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            self._failed = error
            if self._started.is_set():
                log.exception("the CoAP endpoint has ended")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        # What a peer sends is not worth a line each; its logger tells of nothing else below this.
        logging.getLogger("coap-server").setLevel(logging.CRITICAL)
        site = self._site_of()
        context = await Context.create_server_context(site, bind=self._bind, transports=["udp6"])
        try:
            manager = context.request_interfaces[0].token_interface
            self._port = manager.message_interface.transport.get_extra_info("socket").getsockname()[1]
            _guard(manager, site, self._loop)
            self._started.set()
            await self._work(site)
        finally:
            await context.shutdown()
            site.close()

    async def _work(self, site: Site) -> None:
        """Tell observers what changed, until the end."""
        if self._stopping is None:
            raise RuntimeError("not running")
        known: dict[str, downlink.Standing] = {}
        clean_at = time.monotonic() + HOUSEKEEPING_S
        while not self._stopping.is_set():
            try:
                known = await self._round(site, known)
                if time.monotonic() >= clean_at:
                    clean_at = time.monotonic() + HOUSEKEEPING_S
                    await asyncio.to_thread(_clean, site)
            except Exception:  # the database may be away for a while; this must outlive it
                log.exception("could not look for news of devices that speak CoAP")
            try:
                await asyncio.wait_for(self._stopping.wait(), POLL_S)
            except TimeoutError:
                continue

    @staticmethod
    async def _round(site: Site, known: dict[str, downlink.Standing]) -> dict[str, downlink.Standing]:
        observed = site.observers.devices()
        if not observed:
            return {}
        now = await asyncio.to_thread(site.look, observed)
        for device_id, standing in now.items():
            if known.get(device_id) != standing:
                for observer in site.observers.of_device(device_id):
                    observer.changed.set()
        return now


def _clean(site: Site) -> None:
    site.count_denied()
    with site.store.write() as session:
        downlink.silent(session, now_ms() - SILENT_MS)


def _guard(manager: Any, site: Site, loop: asyncio.AbstractEventLoop) -> None:
    """Stand before and behind the library's message layer: floods are dropped, and who does not answer is noted."""
    dispatch, failed = manager.dispatch_message, manager.token_manager.dispatch_error
    hosts = _Hosts()

    def receive(message: Message) -> None:
        if message.code is EMPTY:
            for observer in site.observers.at(address_of(message.remote)):
                if observer.sent is not None and observer.sent[1] == message.mid:
                    if message.mtype is RST:  # it started anew and knows of no observation
                        loop.run_in_executor(None, site.not_told, observer, False)
                    else:
                        observer.sent = None
        if message.code.is_request():
            known = (message.remote, message.mid) in manager._recent_messages
            if not known and (len(manager._recent_messages) >= MOST_REMEMBERED or not hosts.take(message.remote)):
                return
        dispatch(message)

    def unreachable(error: Error, remote: Any) -> None:
        for observer in site.observers.at(address_of(remote)):
            loop.run_in_executor(None, site.not_told, observer, True)
        failed(error, remote)

    interface = manager.message_interface
    parse = interface.datagram_msg_received

    def read(*datagram: Any) -> None:
        try:
            parse(*datagram)
        except Exception as error:  # a path that is no UTF-8 and the like: RFC 7252, section 4.2, lets us ignore it
            log.debug("a datagram could not be read: %s", error)

    interface.datagram_msg_received = read
    manager.dispatch_message = receive
    manager.token_manager.dispatch_error = unreachable


class _Hosts:
    """A bucket of requests for each host."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, remote: Any) -> bool:
        host, now = remote.sockaddr[0], time.monotonic()
        left, at = self._buckets.get(host, (float(BURST), now))
        left = min(BURST, left + (now - at) * RATE)
        self._buckets[host] = (left - 1 if left >= 1 else left, now)
        self._buckets.move_to_end(host)
        if len(self._buckets) > _MOST_HOSTS:
            self._buckets.popitem(last=False)
        return left >= 1
