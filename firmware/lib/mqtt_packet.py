"""MQTT 3.1.1 packets as bytes (section numbers are those of the OASIS standard). No I/O here."""

from aiotcp import const

CONNECT = const(0x10)
CONNACK = const(0x20)
PUBLISH = const(0x30)
PUBACK = const(0x40)
SUBSCRIBE = const(0x82)  # with the flags that 3.8.1 demands
SUBACK = const(0x90)
UNSUBSCRIBE = const(0xA2)
UNSUBACK = const(0xB0)
PINGREQ = const(0xC0)
PINGRESP = const(0xD0)
DISCONNECT = const(0xE0)

DUP = const(0x08)
RETAIN = const(0x01)
REFUSED = const(0x80)  # SUBACK: no subscription

MAX_TOPIC = const(255)  # bytes; what the client sends, MQTT itself allows 65535
MAX_PAYLOAD = const(1 << 20)  # bytes; below MQTT's 256 MiB, above a small device's memory
HEAD_SIZE = const(5 + 2 + MAX_TOPIC + 2)  # fixed header, topic, packet identifier

_CONNACK_REASONS = (  # 3.2.2.3
    "unacceptable protocol version",
    "client identifier rejected",
    "server unavailable",
    "bad user name or password",
    "not authorised",
)


class MqttError(Exception):
    """Why something did not work. `reason` is one word for programs, the text is for people.

    offline: there is no connection, and QoS 0 does not wait for one. lost: the connection ended.
    refused: the broker said no (`code`: its return code). timeout: no answer in time.
    protocol: the broker broke MQTT. link: the network link is down. stopped: run() ended.
    """

    def __init__(self, reason, text, code=None):
        super().__init__(reason + ": " + text)
        self.reason = reason
        self.code = code


def topic_bytes(topic, wildcards=False):
    """A topic name or, with wildcards, a filter, in UTF-8 (4.7); ValueError if it is neither."""
    data = topic.encode()
    if not 0 < len(data) <= MAX_TOPIC:
        raise ValueError("an MQTT topic has 1 to %d bytes, this one %d" % (MAX_TOPIC, len(data)))
    if "\0" in topic:
        raise ValueError("an MQTT topic has no NUL")
    if wildcards:
        levels = topic.split("/")
        for at, level in enumerate(levels):
            hash_inside = "#" in level and (level != "#" or at + 1 < len(levels))
            if hash_inside or ("+" in level and level != "+"):
                raise ValueError("misplaced wildcard in MQTT filter " + repr(topic))
    elif "+" in topic or "#" in topic:
        raise ValueError("a wildcard in MQTT topic " + repr(topic))
    return data


def put_length(buf, at, value):
    """Writes a remaining length (2.2.3); returns the position after it."""
    while value > 127:
        buf[at] = value & 127 | 128
        value >>= 7
        at += 1
    buf[at] = value
    return at + 1


def put_int(buf, at, value):
    buf[at] = value >> 8
    buf[at + 1] = value & 255
    return at + 2


def put_text(buf, at, data):
    """Writes a length-prefixed string (1.5.3); returns the position after it."""
    at = put_int(buf, at, len(data))
    buf[at : at + len(data)] = data
    return at + len(data)


def connect(client_id, user, password, keepalive, clean, will):
    """A whole CONNECT packet (3.1); arguments as for mqtt.Client."""
    flags = 0x02 if clean else 0
    fields = [client_id.encode()]
    if will:
        topic, payload, qos, retain = will
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        fields.append(topic_bytes(topic))
        fields.append(payload.encode() if isinstance(payload, str) else bytes(payload))
    if user is not None:
        flags |= 0x80
        fields.append(user.encode())
    if password is not None:
        flags |= 0x40
        fields.append(password.encode() if isinstance(password, str) else bytes(password))
    size = 10
    for field in fields:
        if len(field) > 65535:
            raise ValueError("a field of the MQTT CONNECT packet is longer than 65535 bytes")
        size += 2 + len(field)
    packet = bytearray(5 + size)
    packet[0] = CONNECT
    at = put_length(packet, 1, size)
    at = put_text(packet, at, b"MQTT")
    packet[at] = 4  # protocol level: 3.1.1
    packet[at + 1] = flags
    at = put_int(packet, at + 2, keepalive)
    for field in fields:
        at = put_text(packet, at, field)
    return packet[:at]


def publish_head(buf, flags, topic, pid, payload_size):
    """A PUBLISH packet up to its payload (3.3). flags: DUP, QoS << 1, RETAIN. Returns its size."""
    qos = flags & 0x06
    buf[0] = PUBLISH | flags
    at = put_length(buf, 1, 2 + len(topic) + (2 if qos else 0) + payload_size)
    at = put_text(buf, at, topic)
    return put_int(buf, at, pid) if qos else at


def put_ack(buf, pid):
    """A PUBACK (3.4). Returns its size."""
    buf[0] = PUBACK
    buf[1] = 2
    return put_int(buf, 2, pid)


def subscribe(buf, pid, topic, qos):
    """SUBSCRIBE to one filter (3.8); UNSUBSCRIBE (3.10) when qos is None. Returns its size."""
    buf[0] = UNSUBSCRIBE if qos is None else SUBSCRIBE
    at = put_length(buf, 1, 2 + 2 + len(topic) + (0 if qos is None else 1))
    at = put_int(buf, at, pid)
    at = put_text(buf, at, topic)
    if qos is None:
        return at
    buf[at] = qos
    return at + 1


def check_connack(body, clean):
    """Returns whether the broker kept a session (3.2); MqttError for a refusal or nonsense."""
    if len(body) != 2 or body[0] > 1 or body[1] > len(_CONNACK_REASONS):
        raise MqttError("protocol", "malformed CONNACK")
    if body[1]:
        raise MqttError("refused", _CONNACK_REASONS[body[1] - 1], body[1])
    if body[0] and clean:
        raise MqttError("protocol", "a session kept where a clean one was asked for")
    return bool(body[0])


def parse_publish(flags, body):
    """(topic, packet identifier or 0, start of the payload) of a PUBLISH; raises MqttError."""
    qos = flags >> 1 & 3
    if qos > 1:  # never subscribed to with QoS 2, and 3 does not exist
        raise MqttError("protocol", "PUBLISH with QoS %d" % qos)
    size = len(body)
    start = 2 + (get_int(body, 0) if size >= 2 else size)
    after = start + (2 if qos else 0)
    if after > size or start == 2:
        raise MqttError("protocol", "PUBLISH shorter than its topic, or without one")
    try:
        topic = str(body[2:start], "utf-8")
    except UnicodeError:
        raise MqttError("protocol", "a topic that is not UTF-8")
    if "\0" in topic or "+" in topic or "#" in topic:
        raise MqttError("protocol", "a topic with a NUL or a wildcard")
    pid = get_int(body, start) if qos else 0
    if qos and not pid:
        raise MqttError("protocol", "packet identifier 0")
    return topic, pid, after


def get_int(body, at):
    return body[at] << 8 | body[at + 1]
