"""MQTT packets as bytes, what 3.1.1 and 5 have in common (section numbers: OASIS MQTT 3.1.1).

No I/O; `head`, `put_ack` and `parse_publish` work in the caller's buffer and allocate nothing.
"""

from aiotcp import const

_CONNECT = const(0x10)
_PUBACK = const(0x40)

MAX_TOPIC = const(255)  # bytes; what the client sends, MQTT itself allows 65535


class MqttError(Exception):
    """Why something did not work. `reason` is one word for programs, the text is for people.

    offline: there is no connection, and QoS 0 does not wait for one. lost: the connection ended.
    refused: the broker said no (`code`: its code). timeout: no answer in time. ended: the broker
    took leave, in MQTT 5 (`code`). protocol: it broke MQTT. link: the network link is down.
    source: a reader gave less than it was to. stopped: run() ended.
    """

    def __init__(self, reason, text, code=None):
        super().__init__(reason + ": " + text)
        self.reason = reason
        self.code = code


def topic_bytes(topic, wildcards=False):
    """A topic name or, with wildcards, a filter, in UTF-8 (4.7); ValueError if it is neither."""
    data = topic.encode()
    good = 0 < len(data) <= MAX_TOPIC and "\0" not in topic
    levels = topic.split("/")
    for at, level in enumerate(levels):
        if "#" in level or "+" in level:
            last = at + 1 == len(levels)
            good = good and wildcards and (level == "+" or (level == "#" and last))
    if not good:
        raise ValueError("no MQTT topic of 1 to %d bytes: %r" % (MAX_TOPIC, topic[:MAX_TOPIC]))
    return data


def text(value):
    """A str or bytes-like field with its length before it (1.5.3)."""
    data = value.encode() if isinstance(value, str) else bytes(value)
    if len(data) > 65535:
        raise ValueError("a field of %d bytes; MQTT has 65535" % len(data))
    return len(data).to_bytes(2, "big") + data


def connect(client_id, user, password, keepalive, clean, will, level=4, more=b"", of_will=b""):
    """A whole CONNECT packet (3.1); arguments as for mqtt.Client, level 5 with properties."""
    flags = 0x02 if clean else 0
    fields = more + text(client_id)
    if will:
        topic, payload, qos, retain = will
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        fields += of_will + text(topic_bytes(topic)) + text(payload)
    if user is not None:
        flags |= 0x80
        fields += text(user)
    if password is not None:
        flags |= 0x40
        fields += text(password)
    start = bytearray(5)
    start[0] = _CONNECT
    at = put_length(start, 1, 10 + len(fields))
    return (
        start[:at] + text("MQTT") + bytes((level, flags)) + keepalive.to_bytes(2, "big") + fields
    )


def put_length(buf, at, value):
    """Writes a remaining length (2.2.3); returns the position after it."""
    while value > 127:
        buf[at] = value & 127 | 128
        value >>= 7
        at += 1
    buf[at] = value
    return at + 1


def head(buf, kind, topic, pid, rest, gap=0):
    """A PUBLISH (3.3), SUBSCRIBE (3.8) or UNSUBSCRIBE (3.10) packet up to its payload.

    kind: the first byte; topic: bytes; pid: 0 for none; rest: bytes that follow; gap: 1 for the
    empty properties of a SUBSCRIBE in MQTT 5. Returns the size of what was written.
    """
    buf[0] = kind
    size = len(topic)
    at = put_length(buf, 1, 2 + size + (2 if pid else 0) + gap + rest)
    asks = kind & 0x80
    if asks:
        buf[at] = pid >> 8
        buf[at + 1] = pid & 255
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
    if pid and not asks:
        buf[at] = pid >> 8
        buf[at + 1] = pid & 255
        at += 2
    return at


def put_ack(buf, at, pid):
    """Writes a PUBACK (3.4); returns the position after it."""
    buf[at] = _PUBACK
    buf[at + 1] = 2
    buf[at + 2] = pid >> 8
    buf[at + 3] = pid & 255
    return at + 4


def parse_publish(buf, kind, at, end):
    """Where the topic of the PUBLISH whose body is buf[at:end] ends (3.3.2); it is at at + 2.

    A packet identifier follows if there is QoS 1, in MQTT 5 properties, then the payload. Raises
    MqttError.
    """
    qos = kind & 0x06
    stop = at + 2
    if stop <= end:
        stop += buf[at] << 8 | buf[at + 1]
    after = stop + 2 if qos else stop
    # Never subscribed to with QoS 2, and 3 does not exist.
    if qos > 2 or after > end or (qos and not (buf[stop] | buf[stop + 1])):
        raise MqttError("protocol", "malformed PUBLISH")
    return stop
