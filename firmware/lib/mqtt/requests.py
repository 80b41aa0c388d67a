"""What a client asks of a broker, from the asking to the answer, across connections."""

import asyncio

from aiotcp import const

from mqtt.packet import MqttError

_SUBSCRIBE = const(0x82)  # with the flags that 3.8.1 demands
_UNSUBSCRIBE = const(0xA2)
_SUBACK = const(0x90)
_UNSUBACK = const(0xB0)
_IDENTIFIED = const(0x02)  # the bit that requests with a packet identifier have in common
# In `filters`, beside the QoS: it is to be told that we leave; the broker has said yes.
_LEAVING = const(0x08)
_GRANTED = const(0x04)


class Request:
    """Something the broker is to answer, or at least to be sent: a message, a filter, a ping.

    value: None while it waits, the broker's code when answered, an MqttError when it failed,
    False when nobody wants to know any more.
    """

    def __init__(self, kind, topic=None, payload=b""):
        self.kind = kind  # the first byte of the packet
        self.topic = topic
        self.payload = payload  # bytes-like; a reader if there is a size
        self.size = None
        self.properties = b""  # of MQTT 5
        self.confirmed = kind & 0xF2 == 0x32  # a message of QoS 1: it outlives connections
        self.id = 0  # none
        self.session = 0  # the number of the one it was last written in
        self.since = 0  # when, ticks
        self.value = None


class Requests:
    """What waits for the broker, and the topic filters it is to know.

    window: of Request, oldest first. filters: topic, bytes -> QoS | _GRANTED | _LEAVING.
    connected; sessions: connections so far. work: an Event, there is something to write. news:
    an Event that is pulsed at everything that somebody may wait for.
    """

    def __init__(self):
        self.window = []
        self.filters = {}
        self.connected = False
        self.sessions = 0
        self.work = asyncio.Event()
        self.news = asyncio.Event()
        self.id = 0

    async def send(self, item):
        """Has a Request sent and returns the broker's code; MqttError if there will be none."""
        self.register(item)
        self.window.append(item)
        self.work.set()
        try:
            while item.value is None:
                await self.news.wait()
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
        """Gives a Request a packet identifier that is not in use (2.3.1), if it is to have one."""
        free = not item.kind & _IDENTIFIED
        while not free:
            item.id = self.id = self.id % 65535 + 1
            free = True
            for other in self.window:
                free = free and other.id != item.id

    def done(self, item, value):
        """Ends a Request."""
        if item in self.window:
            self.window.remove(item)
            self.work.set()  # there is room for another
        item.value = value
        self.update()

    def update(self):
        """Wakes whoever waits for something."""
        self.news.set()
        self.news.clear()

    def filter(self, topic):
        """The Request that brings the broker's view of a topic filter in line with ours."""
        how = self.filters[topic]
        if how & _LEAVING:
            return Request(_UNSUBSCRIBE, topic)
        return Request(_SUBSCRIBE, topic, bytes((how & 3,)))

    def accept(self, present):
        """A connection is there; `present`: the broker knows us and our filters from before."""
        self.sessions += 1
        at = 0
        for topic, how in list(self.filters.items()):
            if how & _LEAVING and not present:
                del self.filters[topic]
            elif not present or how & (_GRANTED | _LEAVING) != _GRANTED:
                self.filters[topic] = how & ~_GRANTED
                item = self.filter(topic)
                self.register(item)
                self.window.insert(at, item)
                at += 1
        self.connected = True
        self.work.set()
        self.update()

    def discard(self, error):
        """The connection is gone; what does not survive it ends with the error."""
        self.connected = False
        for item in list(self.window):
            if item.value is not None or not item.confirmed:
                self.done(item, error)

    def match(self, kind, id, code):
        """An answer (3.4, 3.9, 3.11, 3.13); returns its Request, or None if nobody had asked."""
        for item in self.window:
            # An answer's type is one above that of its question.
            if item.id == id and item.session == self.sessions and item.kind & 0xF0 == kind - 0x10:
                break
        else:
            return None
        if kind == _SUBACK and code < 2 and item.topic in self.filters:
            self.filters[item.topic] |= _GRANTED
        elif kind == _UNSUBACK and self.filters.get(item.topic, 0) & _LEAVING:
            del self.filters[item.topic]
        if code >= 128:
            words = self.five.reason if self.five else "code %d" % code
            code = MqttError("refused", words + " for " + item.topic.decode(), code)
            self.say(str(code))
        self.done(item, code)
        return item
