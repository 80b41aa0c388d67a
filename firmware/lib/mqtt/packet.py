"""MQTT packets as bytes, the parts that 3.1.1 and 5 share (section numbers: OASIS MQTT 3.1.1).

No I/O. `head`, `put_ack` and `parse_publish` work in the caller's buffer and allocate nothing.
"""

from aiotcp import const

_CONNECT = const(0x10)
_PUBACK = const(0x40)
_MAX_TOPIC = const(255)  # bytes that the client sends; MQTT itself allows 65535
_SLASH = const(0x2F)
_PLUS = const(0x2B)
_HASH = const(0x23)


class MqttError(Exception):
    """A request or a connection failed. reason: one word for programs; the text is for people.

    offline: there is no connection, and QoS 0 does not wait for one. lost: the connection ended.
    refused: the broker refused (`code`: its code). timeout: no answer in time. ended: the broker
    sent a DISCONNECT, in MQTT 5 (`code`). protocol: the broker broke MQTT. link: the network link
    is down. source: a reader gave fewer bytes than its size. stopped: run() ended.
    """

    def __init__(self, reason, text, code=None):
        super().__init__(reason + ": " + text)
        self.reason = reason
        self.code = code


def is_topic(data, filter=False):
    """Whether bytes-like data is a topic name or, with `filter`, a topic filter (4.7)."""
    if not filter:  # as often as messages come
        return len(data) > 0 and not (b"+" in data or b"#" in data or b"\0" in data)
    at = 0
    last = len(data) - 1
    before = _SLASH
    good = last >= 0
    for byte in data:
        if byte in (_PLUS, _HASH):
            # A wildcard fills a level, and # is the last.
            after = data[at + 1] if at < last else _SLASH
            alone = before == _SLASH and after == _SLASH
            good = good and alone and (byte == _PLUS or at == last)
        good = good and byte != 0
        before = byte
        at += 1  # noqa: SIM113 - enumerate() would allocate
    return good


def topic_bytes(topic, filter=False):
    """The UTF-8 of a topic name or filter; raises ValueError for a malformed one."""
    data = text_bytes(topic)
    if len(data) > _MAX_TOPIC or not is_topic(data, filter):
        raise ValueError(
            "not an MQTT topic of 1 to %d bytes: %r" % (_MAX_TOPIC, topic[:_MAX_TOPIC])
        )
    return data


def text_bytes(text):
    """The UTF-8 of a str; raises ValueError for what MQTT's text cannot hold (1.5.3): U+0000 and
    surrogates, at which a broker may end every connection that brings them.
    """
    if not isinstance(text, str):
        raise ValueError("MQTT's text is a str, not %s" % type(text).__name__)
    data = text.encode()
    at = data.find(b"\xed")  # MicroPython encodes surrogates, as ed a0 80 to ed bf bf
    while at >= 0 and (at + 1 == len(data) or data[at + 1] < 0xA0):
        at = data.find(b"\xed", at + 1)
    if at >= 0 or b"\0" in data:
        raise ValueError("MQTT's text has no U+0000 and no surrogates: %r" % text[:_MAX_TOPIC])
    return data


def payload_view(payload):
    """A payload as bytes, bytearray or a memoryview of bytes: str as its UTF-8. Raises ValueError
    for anything else, such as a list or an array of larger items, which nothing could send.
    """
    if isinstance(payload, (bytes, bytearray)):
        return payload
    if isinstance(payload, str):
        return payload.encode()
    try:
        view = memoryview(payload)
        if len(bytes(view[:1])) < 2 and getattr(view, "contiguous", True):
            return view
    except TypeError:
        pass
    raise ValueError("an MQTT payload is str or bytes-like, not %s" % type(payload).__name__)


def pack(value):
    """A str or bytes-like field with its length before it (1.5.3); raises ValueError."""
    data = text_bytes(value) if isinstance(value, str) else bytes(payload_view(value))
    if len(data) > 65535:
        raise ValueError("a field of %d bytes; MQTT has 65535" % len(data))
    return len(data).to_bytes(2) + data


def connect(client_id, user, password, keepalive, clean, will, v5=(4, b"", b"")):
    """A whole CONNECT packet (3.1); arguments as for mqtt.Client.

    v5: protocol level, and for MQTT 5 the properties of the packet and of the will.
    """
    level, properties, will_properties = v5
    flags = 0x02 if clean else 0
    fields = properties + pack(client_id)
    if will:
        topic, payload, qos, retain = will
        if isinstance(payload, str):  # a payload is no text: it may hold anything
            payload = payload.encode()
        if qos not in (0, 1, 2):
            raise ValueError("the QoS of a will is 0, 1 or 2, not %r" % (qos,))
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        fields += will_properties + pack(topic_bytes(topic)) + pack(payload)
    if user is not None:
        flags |= 0x80
        fields += pack(user)
    if password is not None:
        flags |= 0x40
        fields += pack(password)
    start = bytearray(5)
    start[0] = _CONNECT
    at = put_length(start, 1, 10 + len(fields))
    return start[:at] + pack("MQTT") + bytes((level, flags)) + keepalive.to_bytes(2) + fields


def put_length(buf, start, value):
    """Writes a remaining length (2.2.3); returns the position after it."""
    while value > 127:
        buf[start] = value & 127 | 128
        value >>= 7
        start += 1
    buf[start] = value
    return start + 1


def head(buf, kind, topic, id, count, v5=None):
    """A PUBLISH (3.3), SUBSCRIBE (3.8) or UNSUBSCRIBE (3.10) packet up to its payload.

    kind: the first byte; topic: bytes; id: the packet identifier, 0 for none; count: bytes that
    follow; v5: true if a SUBSCRIBE has (empty) properties. Returns the size of what was written.
    """
    asks = kind & 0x80
    gap = 1 if v5 and asks else 0
    buf[0] = kind
    size = len(topic)
    at = put_length(buf, 1, 2 + size + (2 if id else 0) + gap + count)
    if asks:
        buf[at] = id >> 8
        buf[at + 1] = id & 255
        at += 2
        if gap:
            buf[at] = 0
            at += 1
    buf[at] = size >> 8
    buf[at + 1] = size & 255
    at += 2
    for byte in topic:
        buf[at] = byte
        at += 1
    if id and not asks:
        buf[at] = id >> 8
        buf[at + 1] = id & 255
        at += 2
    return at


def put_ack(buf, start, id):
    """Writes a PUBACK (3.4); returns the position after it."""
    buf[start] = _PUBACK
    buf[start + 1] = 2
    buf[start + 2] = id >> 8
    buf[start + 3] = id & 255
    return start + 4


def parse_publish(buf, kind, start, end):
    """Where the topic of the PUBLISH whose body is buf[start:end] ends (3.3.2).

    It begins at start + 2. A packet identifier follows if there is QoS 1, in MQTT 5 properties,
    then the payload. 0 if it is malformed.
    """
    qos = kind & 0x06
    stop = start + 2
    if stop <= end:
        stop += buf[start] << 8 | buf[start + 1]
    after = stop + 2 if qos else stop
    # Never subscribed to with QoS 2, and 3 does not exist.
    if qos > 2 or after > end or (qos and not (buf[stop] | buf[stop + 1])):
        return 0
    return stop
