"""The resources: what is under /tg/<device>/up, /tg/<device>/down and /p."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiocoap import Message, Unreliable, interfaces, numbers
from aiocoap.pipe import Pipe
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ota_server.coap import mac, sessions
from ota_server.coap.blocks import Bodies, Reply, Source, cut
from ota_server.coap.echo import AMPLIFICATION, Echoes
from ota_server.coap.observers import Observer, Observers
from ota_server.commands.policy import CommandPolicy
from ota_server.errors import NotFound, Problem, log_trouble
from ota_server.releases.payloads import Payloads
from ota_server.security.device_credentials import Keys
from ota_server.store import Store, alarms, commands, downlink_queue
from ota_server.store.models import CoapSession, Device
from ota_server.uplink import ingest
from tidegate.errors import Refused
from tidegate.names import COMPONENT, DEVICE_ID, STREAM

log = logging.getLogger("tidegate.coap")

T = TypeVar("T")

_UP = re.compile(rf"tg/({DEVICE_ID.pattern})/up/(?:birth|state|report|result|alarm|tele/{STREAM.pattern})\Z")
_DOWN = re.compile(rf"tg/({DEVICE_ID.pattern})/down/(offer|trust|cmd|offer/({COMPONENT.pattern}))\Z")
_LINKS = b'</p>;rt="tg.payload",</tg>;rt="tg.device";obs'
_UNDERSTOOD = {3, 7, 11, 15, 17, 23, 27}  # critical options; nothing here is conditional
_PROXY = {35, 39}
_HEADERS = 28  # bytes of IPv4 and UDP, which count for amplification
_THREADS = 4
_MOST_WAITING = 200  # requests for the database
_COMMAND_S = 120  # how long the further blocks of a command can be had
_BUSY_S = 10
_OCTETS, _LINK_FORMAT = 42, 40
_FOREVER = 31_536_000


class Resources(interfaces.Resource):
    """Answers requests. What needs the database runs in one of a few threads, never in the event loop."""

    def __init__(
        self, store: Store, payloads: Payloads, keys: Keys, policy: CommandPolicy, wake: Callable[[], None]
    ) -> None:
        super().__init__()
        self.store = store
        self._policy = policy
        self.observers = Observers()
        self._payloads = payloads
        self._keys = keys
        self._wake = wake
        self._echoes = Echoes(keys.for_echo())
        self._bodies = Bodies(ingest.MAX_MESSAGE + mac.OVERHEAD)
        self._threads = ThreadPoolExecutor(_THREADS, "coap")
        self._waiting = 0
        self._commands: OrderedDict[str, tuple[float, Source]] = OrderedDict()  # sent lately, by device
        self.denied = 0  # requests without a valid session

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def render(self, request: Message) -> Message:
        """Of the interface, but never called: `render_to_pipe` does it all."""
        return await self._answer(request)

    async def needs_blockwise_assembly(self, _request: Message) -> bool:
        """Of the interface: blocks are our business, since the library keeps as much as it is sent."""
        return False

    async def render_to_pipe(self, pipe: Pipe) -> None:
        request = pipe.request
        down = _DOWN.match(_path(request))
        if down is None or request.opt.observe != 0 or request.code != numbers.GET:
            pipe.add_response(await self._answer(request), is_last=True)
            return
        observer = self.observers.add(down[1], down[2], _address(request))
        try:
            while True:
                observer.changed.clear()
                response = await self._answer(request)
                if not response.code.is_successful():
                    pipe.add_response(response, is_last=True)
                    return
                if observer.should_send(response):
                    response.opt.observe = self.observers.number()
                    pipe.add_response(response, is_last=False)
                    if down[2] == "cmd" and response.payload and response.mid != request.mid:
                        observer.sent = self._commands[down[1]][1], response.mid
                await observer.changed.wait()
                if observer.replaced:
                    last = Message(code=numbers.SERVICE_UNAVAILABLE, transport_tuning=Unreliable)
                    pipe.add_response(last, is_last=True)
                    return
        finally:
            self.observers.remove(observer)

    async def _answer(self, request: Message) -> Message:
        try:
            response = await self._route(request)
        except Reply as early:
            response = early.response
        except sessions.Denied:
            self.denied += 1
            return self._challenge(request)
        except SQLAlchemyError as error:
            log_trouble(log, error, "the database refused a request over CoAP")
            response = Message(code=numbers.SERVICE_UNAVAILABLE, max_age=_BUSY_S)
        except Exception:
            log.exception("a request over CoAP to %s failed", _path(request)[:100])
            response = Message(code=numbers.INTERNAL_SERVER_ERROR)
        if self._too_much(request, response):
            return self._challenge(request)
        response.opt.no_response = request.opt.no_response
        return response

    async def _route(self, request: Message) -> Message:
        path = _path(request)
        unknown = {int(option.number) for option in request.opt.option_list() if option.number & 1} - _UNDERSTOOD
        if unknown & _PROXY:
            return Message(code=numbers.PROXYING_NOT_SUPPORTED)
        if unknown:
            return Message(code=numbers.BAD_OPTION)
        accept = _LINK_FORMAT if path == ".well-known/core" else _OCTETS
        if request.opt.accept is not None and int(request.opt.accept) != accept:
            return Message(code=numbers.NOT_ACCEPTABLE)
        post, get = request.code == numbers.POST, request.code == numbers.GET
        up, down = _UP.match(path), _DOWN.match(path)
        if up is not None:
            return await self._take(request, path, up[1]) if post else _not_allowed()
        if down is not None:
            return await self._tell(request, path, down) if get else _not_allowed()
        if path == ".well-known/core":
            return Message(code=numbers.CONTENT, content_format=_LINK_FORMAT, payload=_LINKS) if get else _not_allowed()
        if path == "echo":  # for a client that answers a 4.01 by itself and does not show the value
            value = self._echoes.make(_address(request))
            return Message(code=numbers.CONTENT, payload=value, max_age=0) if get else _not_allowed()
        if path.startswith("p/"):
            return await self._in_thread(self._payload, request, path[2:]) if get else _not_allowed()
        return Message(code=numbers.NOT_FOUND)

    # ---- up

    async def _take(self, request: Message, path: str, device_id: str) -> Message:
        """File what a device says. 2.04 means that it is in the database."""
        address, echo = _address(request), self._echo(request)
        body = self._bodies.take((address, path, tuple(request.opt.request_tag or ())), request)
        message = mac.split(body)
        if message is None:
            raise sessions.Denied
        refused = await self._in_thread(self._file, message, path, device_id, echo)
        self._echoes.remember(address)
        response = Message(code=numbers.CHANGED)
        if refused is not None:
            response = Message(code=numbers.BAD_REQUEST, payload=str(refused).encode()[:64])
        elif path.endswith(("/birth", "/state")):
            self._wake()
        if request.opt.block1 is not None:
            response.opt.block1 = request.opt.block1
        return response

    def _file(self, message: mac.Signed, path: str, device_id: str, echo: bytes | None) -> Refused | None:
        with self.store.read() as session:  # what is forged does not even wait for the lock of those that write
            sessions.verify(session.get(CoapSession, device_id), self._keys, device_id, path, message, echo)

        def admit(session: Session, device: Device) -> None:
            sessions.admit(session, self._keys, device.id, path, message, echo)

        try:
            return ingest.take(self.store, ingest.Message(path, message.payload, False, "coap"), admit)
        except sessions.Repeated:
            return None

    # ---- down

    async def _tell(self, request: Message, path: str, down: re.Match[str]) -> Message:
        self._echo(request)
        if not self._echoes.knows(_address(request)):
            raise sessions.Denied
        block = request.opt.block2
        return cut(request, await self._in_thread(self._read, request, path, down, bool(block and block.block_number)))

    def _read(self, request: Message, path: str, down: re.Match[str], further: bool) -> Source:
        device_id, what, name = down[1], down[2], down[3]
        tags = [query[2:] for query in request.opt.uri_query if query.startswith("a=")]
        with self.store.read() as session:
            if len(tags) != 1 or not sessions.may_read(session, self._keys, device_id, path, tags[0]):
                raise sessions.Denied
            if what == "offer":
                return _source(downlink_queue.offer(session, device_id))
            if what == "trust":
                return _source(downlink_queue.trust_update(session, device_id))
            if name is not None:
                return _source(downlink_queue.data_offer(session, device_id, name))
        return self._command(device_id, further)

    def _command(self, device_id: str, further: bool) -> Source:
        """The next command, or more of the one that went last."""
        last = self._commands.get(device_id)
        if further and last is not None and time.monotonic() - last[0] < _COMMAND_S:
            return last[1]
        with self.store.read() as session:
            waiting = downlink_queue.standings(session, [device_id])[device_id].command is not None
        if not waiting:
            return _source(b"")
        with self.store.write() as session:
            message = self._take_command(session, device_id)
        if message is None:
            return _source(b"")
        source = _source(message)
        self._commands[device_id] = (time.monotonic(), source)
        self._commands.move_to_end(device_id)
        while len(self._commands) > _MOST_WAITING:
            self._commands.popitem(last=False)
        log.info("%s: command handed out", device_id)
        return source

    def _take_command(self, session: Session, device_id: str) -> bytes | None:
        """The oldest command that waits, which from now on counts as the device's."""
        for row in downlink_queue.waiting_commands(session, device_id):
            message = self._policy.claim(session, row)
            if message is not None and commands.uplinked(session, row, "the device, over CoAP"):
                return message
        return None

    # ---- payloads

    def _payload(self, request: Message, name: str) -> Message:
        try:
            file = self._payloads.open(name)
        except NotFound:
            return Message(code=numbers.NOT_FOUND)
        except Problem:
            return Message(code=numbers.SERVICE_UNAVAILABLE, max_age=_BUSY_S)
        with file:
            size = os.fstat(file.fileno()).st_size
            source = Source(size, bytes.fromhex(name)[:8], lambda at, count: os.pread(file.fileno(), count, at))
            response = cut(request, source)
        if response.opt.size2 is not None or response.opt.block2 is None:  # the first block says it for all
            response.opt.max_age = _FOREVER
        return response

    # ---- echo and amplification

    def _echo(self, request: Message) -> bytes | None:
        """The Echo value of a request, if it is one of ours for this address."""
        value = request.opt.echo
        return value if value is not None and self._echoes.good(value, _address(request)) else None

    def _challenge(self, request: Message) -> Message:
        return Message(code=numbers.UNAUTHORIZED, echo=self._echoes.make(_address(request)))

    def _too_much(self, request: Message, response: Message) -> bool:
        self._echo(request)
        if self._echoes.knows(_address(request)):
            return False
        received = _HEADERS + 4 + len(request.token) + len(request.opt.encode()) + len(request.payload)
        return len(response.payload) + 32 + _HEADERS > AMPLIFICATION * received  # 32: our options are shorter than that

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        if self._waiting >= _MOST_WAITING:
            raise Reply(Message(code=numbers.SERVICE_UNAVAILABLE, max_age=_BUSY_S))
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        finally:
            self._waiting -= 1

    # ---- for CoapServer

    def standings(self, device_ids: set[str]) -> dict[str, downlink_queue.Standing]:
        with self.store.read() as session:
            return downlink_queue.standings(session, device_ids)

    def not_delivered(self, observer: Observer, gone: bool) -> None:
        """A notification was not acknowledged: its command waits again. `gone`: the device did not answer at all."""
        sent, observer.sent = observer.sent, None
        try:
            with self.store.write() as session:
                if gone:
                    downlink_queue.gone(session, observer.device_id)
                if sent is not None:
                    commands.unsent(session, observer.device_id, sent[0].read(0, sent[0].size))
        except SQLAlchemyError as error:
            log_trouble(log, error, "%s: could not note that its command waits again", observer.device_id)

    def count_denied(self) -> None:
        if self.denied:
            many, self.denied = self.denied, 0
            with self.store.write() as session:
                alarms.count(session, "CoAP requests without a valid session", many)


def _path(request: Message) -> str:
    return "/".join(request.opt.uri_path)


def address_of(remote: Any) -> str:
    """Host and port of an endpoint as the library gives it."""
    host, port = remote.sockaddr[:2]
    return f"{host.removeprefix('::ffff:')} {port}"


def _address(request: Message) -> str:
    return address_of(request.remote)


def _source(data: bytes) -> Source:
    etag = hashlib.sha256(data).digest()[:4]
    return Source(len(data), etag, lambda offset, count: data[offset : offset + count])


def _not_allowed() -> Message:
    return Message(code=numbers.METHOD_NOT_ALLOWED)
