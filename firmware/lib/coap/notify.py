"""The observers of a CoAP server (RFC 7641 section 4)."""

from coap.message import Message, const
from coap.resource import Reply, Request
from coap.udp import ticks_diff, ticks_ms

_MAX_OBSERVERS = const(8)
_MAX_REQUEST = const(128)  # bytes of a request to observe, which is stored
_OBSERVE = const(6)
_ACKED = const(0)  # as in coap.exchange
_CONFIRM_EVERY = const(8)  # notifications: a silent observer is noticed by those it must answer
_CONFIRM_MS = const(3600000)  # and by time; section 4.5 wants it every 24 hours at least


class Observers:
    def __init__(self, server):
        self._server = server
        self._all = []
        self._sequence = 1

    def register(self, request, reply, data):
        """Adds or removes an observer; returns the sequence number to answer with, or None."""
        token = request.message.token()
        for observer in self._all:
            if observer.peer == request.peer and observer.token == token:
                self.remove(observer)
                break
        full = len(self._all) >= _MAX_OBSERVERS or len(data) > _MAX_REQUEST
        if request.uint(_OBSERVE) or reply.code >= 400 or full:
            return None
        self._all.append(Observer(self, request.peer, token, request.path, data, reply.format))
        return self._sequence

    def remove(self, observer):
        if observer in self._all:
            self._all.remove(observer)
            self._server.outbox.forget(observer)

    def changed(self, path):
        """Notifies the observers of path."""
        self._sequence = self._sequence + 1 & 0xFFFFFF
        for observer in list(self._all):
            if observer.path == path:
                self.notify(observer)

    def notify(self, observer):
        if observer.waiting:  # for the last one to be acknowledged (section 4.5.1: one at a time)
            observer.late = True
            return
        server = self._server
        message = Message()
        message.decode(observer.data, len(observer.data))
        request = Request(message, observer.peer, observer.path)
        reply = server.handle(request, True)
        if hasattr(reply, "send"):
            raise ValueError("%s is observed, so its handler is not async" % observer.path)
        if not isinstance(reply, Reply):
            reply = Reply(None, b"" if reply is None else reply)
        if reply.format != observer.format and (reply.code or 0) < 400:
            reply = Reply(406)  # section 4.2: the same format, or none
        over = (reply.code or 0) >= 400
        observer.count += 1
        resource = server.resources.get(observer.path)
        silent = ticks_diff(ticks_ms(), observer.heard)
        confirmable = (
            not resource
            or resource.confirmable
            or observer.count % _CONFIRM_EVERY == 0
            or not 0 <= silent < _CONFIRM_MS
        )
        view = server.compose(request, reply, sequence=None if over else self._sequence)
        if view:
            observer.mid = view[2] << 8 | view[3]
            observer.waiting = confirmable and not over
            server.post(view, observer.peer, confirmable, None if over else observer)
        if over:
            self.remove(observer)

    def reset(self, mid, peer):
        """A non-confirmable notification was rejected."""
        for observer in self._all:
            if observer.mid == mid and observer.peer == peer:
                self.remove(observer)
                break


class Observer:
    """An observer: its address, token and path, and the request that registered it."""

    def __init__(self, observers, peer, token, path, data, format):
        self._observers = observers
        self.peer = peer
        self.token = token
        self.path = path
        self.data = data
        self.format = format
        self.count = 0
        self.mid = None
        self.waiting = False  # for an acknowledgement
        self.late = False  # there was another change meanwhile
        self.heard = ticks_ms()

    def ended(self, outcome):
        """A confirmable notification was acknowledged, rejected, or given up."""
        self.waiting = False
        if outcome != _ACKED:
            self._observers.remove(self)
            return
        self.heard = ticks_ms()
        if self.late:
            self.late = False
            self._observers.notify(self)
