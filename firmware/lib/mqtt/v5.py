"""MQTT 5 for `mqtt`: properties, reason codes, topic aliases, flow control.

A Client with version=5 imports it (section numbers: OASIS MQTT 5.0). Properties of connect, will,
publish and of messages are {constant below: value}: an int, a str, bytes, and for USER_PROPERTY a
list of (name, value).
"""

from aiotcp import const

from mqtt import packet as wire
from mqtt.packet import MqttError

PAYLOAD_FORMAT = const(0x01)  # 1: UTF-8
MESSAGE_EXPIRY = const(0x02)  # s
CONTENT_TYPE = const(0x03)
RESPONSE_TOPIC = const(0x08)
CORRELATION_DATA = const(0x09)
SUBSCRIPTION_ID = const(0x0B)
SESSION_EXPIRY = const(0x11)  # s
ASSIGNED_CLIENT_ID = const(0x12)
SERVER_KEEP_ALIVE = const(0x13)  # s
WILL_DELAY = const(0x18)  # s
REASON_STRING = const(0x1F)
RECEIVE_MAXIMUM = const(0x21)
TOPIC_ALIAS_MAXIMUM = const(0x22)
TOPIC_ALIAS = const(0x23)
MAXIMUM_QOS = const(0x24)
RETAIN_AVAILABLE = const(0x25)
USER_PROPERTY = const(0x26)
MAXIMUM_PACKET_SIZE = const(0x27)  # bytes

_NUMBER = const(5)  # 2.2.2.2: 1, 2 and 4 mean so many bytes, 0 that there is no such property
_TEXT = const(6)
_BINARY = const(7)
_PAIR = const(8)
_TYPES = (
    b"\0\1\4\6\0\0\0\0\6\7\0\5\0\0\0\0\0\4\6\2\0\6\7\1\4\1\6\0\6\0\0\6\0\2\2\2\1\1\x08\4\1\1\1"
)
# What each packet may carry.
_OF_MESSAGE = b"\x01\x02\x03\x08\x09\x0b\x23\x26"
_OF_CONNACK = b"\x11\x12\x13\x15\x16\x1a\x1c\x1f\x21\x22\x24\x25\x26\x27\x28\x29\x2a"
_OF_CONNECT = b"\x11\x17\x19\x21\x22\x26\x27"
_OF_WILL = b"\x01\x02\x03\x08\x09\x18\x26"
_OF_PUBLISH = b"\x01\x02\x03\x08\x09\x26"
_OF_ANSWER = b"\x1c\x1f\x26"

_PUBLISH = const(0x30)
_PUBACK = const(0x40)
_SUBACK = const(0x90)
_UNSUBACK = const(0xB0)
_PINGRESP = const(0xD0)
_DISCONNECT = const(0xE0)

_RECEIVE_MAXIMUM = const(8)  # messages of QoS 1 that the broker may send before a PUBACK
_ALIASES = const(8)  # topics that get one: the first that a connection sends
_NONE = {}


def encode(properties, allowed):
    """Properties as bytes, without the length before them; raises ValueError."""
    data = b""
    for key, value in (properties or _NONE).items():
        if key not in allowed:
            raise ValueError("MQTT 5 property 0x%02x is not allowed here" % key)
        kind = _TYPES[key]
        for part in value if kind == _PAIR else (value,):
            data += bytes((key,))
            if kind == _PAIR:
                data += wire.pack(part[0]) + wire.pack(part[1])
            elif kind >= _TEXT:
                data += wire.pack(part)
            elif part < 0 or part >> 8 * kind:
                raise ValueError("%d for MQTT 5 property 0x%02x" % (part, key))
            else:
                data += part.to_bytes(kind, "big")
    return data


def with_length(data):
    """Encoded properties with their length before them."""
    start = bytearray(4)
    return bytes(start[: wire.put_length(start, 0, len(data))]) + data


def decode(buf, at, end, allowed):
    """(properties, position after them) of the length and properties at buf[at:end]. Raises
    MqttError.
    """
    size, at = _number(buf, at, end)
    stop = at + size
    found = {} if size else _NONE
    while at < stop <= end:
        key = buf[at]
        at += 1
        kind = _TYPES[key] if key in allowed else 0
        if not kind or (key in found and kind not in (_PAIR, _NUMBER)):
            raise MqttError("protocol", "property 0x%02x, unknown or twice" % key)
        if kind == _NUMBER:
            found[key], at = _number(buf, at, stop)
        elif kind < _NUMBER:
            found[key] = int.from_bytes(buf[at : at + kind], "big")
            at += kind
        elif kind == _PAIR:
            name, at = _field(buf, at, stop, _TEXT)
            value, at = _field(buf, at, stop, _TEXT)
            found.setdefault(key, []).append((name, value))
        else:
            found[key], at = _field(buf, at, stop, kind)
    if at != stop or stop > end:
        raise MqttError("protocol", "properties that go beyond their end")
    return found, stop


def _field(buf, at, end, kind):
    start = at + 2
    stop = start + (buf[at] << 8 | buf[at + 1]) if start <= end else end + 1
    if stop <= end:
        data = bytes(buf[start:stop])
        try:
            return (data if kind == _BINARY else str(data, "utf-8")), stop
        except UnicodeError:
            pass
    raise MqttError("protocol", "a malformed property")


def _number(buf, at, end):
    """(value, position after it) of a variable byte integer (1.5.5)."""
    value = 0
    for shift in (0, 7, 14, 21):
        if at < end:
            byte = buf[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
    raise MqttError("protocol", "a malformed length of properties")


class Mqtt5:
    """The part of a Client that speaks MQTT 5. properties: those of the last CONNACK; reason: the
    text of the last answer if that was a refusal, else "".
    """

    def __init__(self, client):
        self._client = client
        self._window = client.receive_maximum
        self.properties = _NONE
        self.reason = ""
        self._sent_aliases = {}  # topic: alias
        self._received_aliases = {}  # alias: topic
        self._alias_maximum = 0

    def connect(self, properties, will_properties):
        """For packet.connect: level, encoded properties, encoded properties of the will."""
        known = {RECEIVE_MAXIMUM: _RECEIVE_MAXIMUM}
        if not self._client.on_large:
            known[MAXIMUM_PACKET_SIZE] = self._client.max_packet
        known.update(properties or _NONE)
        self._alias_maximum = known.get(TOPIC_ALIAS_MAXIMUM, 0)
        data = encode(known, _OF_CONNECT)
        return 5, with_length(data), with_length(encode(will_properties, _OF_WILL))

    def accept(self, code, at, end):
        """The rest of a CONNACK (3.2): its reason code, and properties at rx[at:end]."""
        client = self._client
        found, at = decode(client.rx, at, end, _OF_CONNACK)
        if at != end:
            raise client.unexpected()
        if code:
            raise MqttError("refused", self._say(code, found), code)
        self.properties = found
        self._sent_aliases = {}
        self._received_aliases = {}
        client.receive_maximum = min(self._window, found.get(RECEIVE_MAXIMUM, 65535))
        if found.get(SERVER_KEEP_ALIVE):
            client.ping_ms = found[SERVER_KEEP_ALIVE] * 500
        for item in list(client.window):
            if not client.rx[client.start] & 1:
                item.session = 0  # the broker has no session: nothing is a repetition (4.1)
            try:
                self._check(item)
            except MqttError as error:
                client.done(item, error)

    def pack(self, item, properties):
        """Gives a message its properties; raises MqttError if the broker does not accept it."""
        item.properties = encode(properties, _OF_PUBLISH)
        self._check(item)

    def _check(self, item):
        if item.kind & 0xF0 != _PUBLISH:
            return
        size = len(item.payload) if item.size is None else item.size
        size += 13 + len(item.topic) + len(item.properties)
        limit = self.properties.get(MAXIMUM_PACKET_SIZE, size)
        code = 0
        if size > limit:
            code = 0x95
        elif item.kind & 1 and not self.properties.get(RETAIN_AVAILABLE, 1):
            code = 0x9A
        elif item.confirmed and not self.properties.get(MAXIMUM_QOS, 1):
            code = 0x9B
        if code:
            raise MqttError("refused", self._say(code, _NONE), code)

    def encode(self, item):
        """(topic, properties) of a PUBLISH as they are written on this connection (3.3.2.3.4)."""
        topic, data = item.topic, item.properties
        limit = min(_ALIASES, self.properties.get(TOPIC_ALIAS_MAXIMUM, 0))
        alias = self._sent_aliases.get(topic)
        if alias or len(self._sent_aliases) < limit:
            if alias:
                topic = b""
            else:
                alias = self._sent_aliases[topic] = len(self._sent_aliases) + 1
            data += bytes((TOPIC_ALIAS, 0, alias))
        return topic, with_length(data)

    def span(self, at):
        """The size of the properties at rx[at], of which at least the length has come."""
        size, start = _number(self._client.rx, at, self._client.end)
        return start - at + size

    def message(self, stop, at, end):
        """(topic, start of the payload, (properties,)) of a PUBLISH whose topic ends at stop and
        whose properties start at `at`.
        """
        client = self._client
        found, at = decode(client.rx, at, end, _OF_MESSAGE)
        alias = found.get(TOPIC_ALIAS)
        if alias is not None and not 0 < alias <= self._alias_maximum:
            raise MqttError("protocol", "topic alias %d" % alias)
        if stop > client.start + 2:
            topic = client.name(stop)
            if alias:
                self._received_aliases[alias] = topic
        elif alias in self._received_aliases:
            topic = self._received_aliases[alias]
        else:
            raise MqttError("protocol", "a PUBLISH without a topic")
        return topic, at, (found,)

    def decode(self, end):
        """The reason code of any packet but PUBLISH, at rx[at:end]; raises MqttError."""
        client = self._client
        buf, at, kind, size = client.rx, client.start, client.kind, client.size
        code, found = 0, _NONE
        if kind in (_SUBACK, _UNSUBACK) and size > 3:
            found, at = decode(buf, at + 2, end, _OF_ANSWER)
            if at != end - 1:
                raise client.unexpected()
            code = buf[at]
        elif kind == _DISCONNECT or (kind == _PUBACK and size >= 2):
            if kind == _PUBACK:
                at += 2
            if at < end:
                code = buf[at]
            if at + 1 < end:
                found, at = decode(buf, at + 1, end, _OF_ANSWER)
                if at != end:
                    raise client.unexpected()
        elif kind != _PINGRESP or size:
            raise client.unexpected()
        self.reason = self._say(code, found) if code >= 128 else ""
        if kind == _DISCONNECT:
            raise MqttError("ended", "the broker disconnected: " + self._say(code, found), code)
        return code

    def _say(self, code, found):
        from mqtt.reasons import REASONS

        words = REASONS.get(code, "code 0x%02x" % code)
        return "%s (%s)" % (words, found[REASON_STRING]) if REASON_STRING in found else words
