"""Requests to a broker, from sending to the answer, across connections."""

import asyncio

from aiotcp import const

from mqtt.packet import MqttError

_SUBSCRIBE = const(0x82)  # with the flags that 3.8.1 demands
_UNSUBSCRIBE = const(0xA2)
_SUBACK = const(0x90)
_UNSUBACK = const(0xB0)
_IDENTIFIED = const(0x02)  # the bit that requests with a packet identifier have in common
# In `filters`, beside the QoS: to be unsubscribed from; granted by the broker.
_UNSUBSCRIBING = const(0x08)
_GRANTED = const(0x04)


class Request:
    """A packet to send, which the broker answers: a message, a topic filter or a ping.

    value: None while it waits, the broker's code when answered, an MqttError when it failed,
    False when its caller has stopped waiting.
    """

    def __init__(self, kind, topic=None, payload=b""):
        self.kind = kind  # the first byte of the packet
        self.topic = topic
        self.payload = payload  # bytes-like; a reader if there is a size
        self.size = None
        self.properties = b""  # of MQTT 5
        self.confirmed = kind & 0xF2 == 0x32  # a message of QoS 1: it outlives connections
        self.id = 0  # packet identifier, 0 for none
        self.session = 0  # the number of the session it was last written in
        self.since = 0  # when it was written, ticks
        self.value = None


class Requests:
    """The requests that wait for the broker, and the topic filters to subscribe to.

    window: of Request, oldest first. filters: topic, bytes -> QoS | _GRANTED | _UNSUBSCRIBING.
    connected; sessions: connections so far. work: an Event, there is something to write. changed:
    an Event that is pulsed at each change that somebody may wait for.
    """

    def __init__(self):
        self.window = []
        self.filters = {}
        self.connected = False
        self.sessions = 0
        self.work = asyncio.Event()
        self.changed = asyncio.Event()
        self.id = 0

    async def send(self, item):
        """Sends a Request and returns the broker's code; raises MqttError if it fails."""
        self.register(item)
        self.window.append(item)
        self.work.set()
        try:
            while item.value is None:
                await self.changed.wait()
        finally:
            if item.value is None:
                if self.connected and item.session == self.sessions:
                    item.value = False  # it keeps its place until the broker has answered
                else:
                    self.done(item, False)
        if isinstance(item.value, MqttError):
            raise item.value
        return item.value

    def register(self, item):
        """Gives a Request a free packet identifier (2.3.1), if its kind has one."""
        free = not item.kind & _IDENTIFIED
        while not free:
            item.id = self.id = self.id % 65535 + 1
            free = True
            for other in self.window:
                free = free and other.id != item.id

    def done(self, item, value):
        """Ends a Request with this value."""
        if item in self.window:
            self.window.remove(item)
            self.work.set()  # there is room for another
        item.value = value
        self.update()

    def update(self):
        """Wakes all who wait for a change."""
        self.changed.set()
        self.changed.clear()

    def filter(self, topic):
        """The Request that subscribes to a topic filter, or unsubscribes, as `filters` says."""
        state = self.filters[topic]
        if state & _UNSUBSCRIBING:
            return Request(_UNSUBSCRIBE, topic)
        return Request(_SUBSCRIBE, topic, bytes((state & 3,)))

    def accept(self, present):
        """A connection has begun; present: the broker still has our session and its filters."""
        self.sessions += 1
        at = 0
        for topic, state in list(self.filters.items()):
            if state & _UNSUBSCRIBING and not present:
                del self.filters[topic]
            elif not present or state & (_GRANTED | _UNSUBSCRIBING) != _GRANTED:
                self.filters[topic] = state & ~_GRANTED
                item = self.filter(topic)
                self.register(item)
                self.window.insert(at, item)
                at += 1
        self.connected = True
        self.work.set()
        self.update()

    def ask_again(self):
        """Subscribes again where the broker refused: it may only have been too early."""
        for topic, state in self.filters.items():
            if not state & (_GRANTED | _UNSUBSCRIBING):
                for item in self.window:
                    if item.kind == _SUBSCRIBE and item.topic == topic:
                        break
                else:
                    item = self.filter(topic)
                    self.register(item)
                    self.window.append(item)
                    self.work.set()

    def discard(self, error):
        """The connection has ended; requests that do not survive it end with the error."""
        self.connected = False
        for item in list(self.window):
            if item.value is not None or not item.confirmed:
                self.done(item, error)

    def match(self, kind, id, code):
        """Ends the Request that this answers (3.4, 3.9, 3.11, 3.13); returns it, or None."""
        for item in self.window:
            # An answer's packet type is one above its request's.
            if item.id == id and item.session == self.sessions and item.kind & 0xF0 == kind - 0x10:
                break
        else:
            return None
        if kind == _SUBACK and code < 2 and item.topic in self.filters:
            self.filters[item.topic] |= _GRANTED
        elif kind == _UNSUBACK and self.filters.get(item.topic, 0) & _UNSUBSCRIBING:
            del self.filters[item.topic]
        if code >= 128:
            words = self.v5.reason if self.v5 else "code %d" % code
            code = MqttError("refused", words + " for " + item.topic.decode(), code)
            self.say(str(code))
        self.done(item, code)
        return item
