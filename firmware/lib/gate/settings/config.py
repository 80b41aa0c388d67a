"""Reads the files flashed beside the firmware, config.json and credentials.json, key by key."""

import json
import os

from gate import ConfigError, console
from gate.clock import const

_MAX_SIZE = const(4096)  # bytes of a file
UPLINKS = ("mqtt", "coap", "both", "usb")
_PORTS = {"http": 80, "https": 443, "coap": 5683}
_DEVICE_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789-"
_DIGITS = "0123456789"
_HEX = _DIGITS + "abcdefABCDEF"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# RFC 3986 section 3.3; what is to be encoded is refused, not encoded.
_PATH_CHARS = _LETTERS + _DIGITS + "-._~!$&'()*+,;=:@/%"


class Config:
    """The device's settings.

    device: 1..32 characters of a-z 0-9 -; product, vendor (a domain), board: text; uplink: one of
    UPLINKS, with mqtt_host, mqtt_port, user and password, and/or coap_host, coap_port and coap_key
    (32 bytes); payloads: (scheme, host, port, path with a / at its end) of the base address that
    payload addresses are relative to; enrol: the same of the server that claims are shown to, if
    it is another; mqtt_tls, payloads_tls: whether these speak TLS;
    telemetry_period_s, trial_timeout_s, restart_wait_s: seconds; log_level: a number of
    console.LEVELS; streams, store: documents for stream_settings; app: what is there for the
    application, unjudged; dangerous: whether opcodes of that role are offered; clock: whether the
    board's clock, if it has one, can be trusted.
    """

    def __init__(self, folder, board, settings=None, secrets=True):
        """Reads both files in `folder`; `board` is the name of the board this runs on; settings:
        {dotted key: value} set over the air (gate.settings.overrides); secrets: whether
        to read credentials.json, too, which a board has once it is a device. Raises ConfigError.
        """
        found = _Document(folder + "/config.json")
        if settings:
            found.change(settings)
        self.product = found.text("product", 64)
        self.vendor = found.text("vendor", 64)
        self.board = found.text("board", 32)
        if self.board != board:
            raise found.wrong("board", "is %r, but this board is %r" % (self.board, board))
        self.uplink = UPLINKS[found.choice("uplink", UPLINKS, UPLINKS[0])]
        self.mqtt_tls = False
        self.has_coap = self.uplink in ("coap", "both")
        if self.has_coap:
            server = found.inner("coap")
            self.coap_host = server.host("host")
            self.coap_port = server.number("port", 1, 65535, 5683)
        if self.uplink != "coap":
            broker = found.inner("mqtt")
            self.mqtt_host = broker.host("host")
            self.mqtt_tls = broker.flag("tls", False)
            self.mqtt_port = broker.number("port", 1, 65535, 8883 if self.mqtt_tls else 1883)
        self.payloads = _address(found, "payloads")
        self.enrol = _address(found, "enrol") if "enrol" in found.names() else self.payloads
        self.payloads_tls = self.payloads[0] == "https"
        if self.uplink == "usb" and self.payloads[0] == "coap":
            raise found.wrong("payloads", "must start with http:// or https://, as uplink is usb")
        self.telemetry_period_s = found.number("telemetry_period_s", 1, 86400, 60)
        self.trial_timeout_s = found.number("trial_timeout_s", 10, 3600, 60)
        self.restart_wait_s = found.number("restart_wait_s", 0, 604800, 43200)
        self.log_level = found.choice("log_level", console.LEVELS, "info")
        self.streams = found.optional("streams")
        self.store = found.optional("store")
        self.app = found.own("app")
        self.dangerous = found.flag("dangerous", False)
        self.clock = found.flag("clock", True)
        if secrets:
            path = folder + "/credentials.json"
            self._own(found, _Document(path, also=" or enrol (docs/enrolment.md)"))

    def _own(self, found, secret):
        """Reads the device's id, from its enrolment or else from config.json, and its secrets."""
        named = secret if "device" in secret.names() else found
        self.device = named.text("device", 32)
        if not _only(self.device, _DEVICE_CHARS):
            raise named.wrong("device", "may hold only a-z, 0-9 and -")
        if self.has_coap:
            self.coap_key = secret.key("coap_key")
        if self.uplink != "coap":
            self.user = secret.text("user", 128)
            self.password = secret.text("password", 128)


class _Document:
    """One JSON object; each ConfigError names the file and the key."""

    def __init__(self, path, values=None, prefix="", also=""):
        """also: another remedy when the file is missing."""
        self._path = path
        self._also = also
        self._prefix = prefix
        self._values = self._read() if values is None else values

    def wrong(self, key, what):
        return ConfigError(
            "%s: %s%s %s; flash it again (tidegate flash)" % (self._path, self._prefix, key, what)
        )

    def change(self, settings):
        """Sets values at dotted keys, {dotted key: value}."""
        for name, value in settings.items():
            values = self._values
            parts = name.split(".")
            for part in parts[:-1]:
                values = values.setdefault(part, {})
                if not isinstance(values, dict):
                    raise self.wrong(name, "is not a key: %s has a value" % part)
            values[parts[-1]] = value

    def text(self, key, most):
        value = self._values.get(key)
        if value is None:
            raise self.wrong(key, "is missing")
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise self.wrong(key, "must be a text of 1 to %d characters" % most)
        if not _is_plain(value):
            raise self.wrong(key, "must be without control characters and surrogates")
        return value

    def host(self, key):
        value = self.text(key, 128)
        if not is_host(value):
            raise self.wrong(key, "must be a name of a-z, 0-9, -, _ and ., or an address")
        return value

    def number(self, key, least, most, default):
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, "must be a whole number from %d to %d" % (least, most))
        return value

    def key(self, key):
        """32 bytes, in hex."""
        text = self.text(key, 64)
        try:
            value = bytes(int(text[at : at + 2], 16) for at in range(0, 64, 2))
        except ValueError:
            value = b""
        if len(value) != 32:
            raise self.wrong(key, "must be 64 hex digits")
        return value

    def flag(self, key, default):
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def choice(self, key, names, default):
        value = self._values.get(key, default)
        if value not in names:
            raise self.wrong(key, "must be one of " + ", ".join(names))
        return names.index(value)

    def real(self, key, default):
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float, type(default))):
            raise self.wrong(key, "must be a number")
        if value is not None and value - value != 0:
            raise self.wrong(key, "must be a finite number")
        return value

    def names(self):
        return self._values.keys()

    def own(self, key):
        """The value as it stands, of whatever kind; None if it is missing."""
        return self._values.get(key)

    def optional(self, key):
        """Like inner, but an empty document if the key is missing."""
        if key in self._values:
            return self.inner(key)
        return _Document(self._path, {}, self._prefix + key + ".")

    def inner(self, key):
        value = self._values.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "is missing" if value is None else "must be an object")
        return _Document(self._path, value, self._prefix + key + ".")

    def _read(self):
        values = None
        try:
            if os.stat(self._path)[6] <= _MAX_SIZE:
                with open(self._path) as file:
                    values = json.load(file)
        except OSError:
            raise ConfigError(
                "%s is missing; flash it (tidegate flash)%s" % (self._path, self._also)
            )
        except (ValueError, RuntimeError):  # the latter for too many levels
            values = None
        if not isinstance(values, dict):
            raise ConfigError(
                "%s is not a JSON object; flash it again (tidegate flash)" % self._path
            )
        return values


def _address(found, key):
    """(scheme, host, port, path) of "http://host[:port]/[path/]"."""
    url = found.text(key, 200)
    scheme, _, rest = url.partition("://")
    if scheme not in _PORTS:
        raise found.wrong(key, "must start with http://, https:// or coap://")
    place, _, path = rest.partition("/")
    host, colon, port = place.partition(":")
    number = _PORTS[scheme]
    if colon:
        number = int(port) if _only(port, _DIGITS) and len(port) < 6 else 0
    if not is_host(host) or ":" in host or not 0 < number < 65536:
        raise found.wrong(key, "must look like %s://host:port/" % scheme)
    if path and not path.endswith("/"):
        raise found.wrong(key, "must look like %s://host:port/path/" % scheme)
    parts = path.split("%")
    if not _only(path, _PATH_CHARS, 0) or not all(_only(part[:2], _HEX, 2) for part in parts[1:]):
        raise found.wrong(
            key, "has a character that an address must encode, such as %20 for a space"
        )
    return scheme, host, number, "/" + path


def is_host(text):
    """Whether it is a host name, or an IPv4 or IPv6 address: what getaddrinfo can look up. The
    same rule as tidegate.names.HOST.
    """
    if ":" in text:  # an IPv6 address
        return _only(text, _HEX + ":.")
    labels = (text[:-1] if text.endswith(".") else text).split(".")
    return all(_only(label, _LETTERS + _DIGITS + "-_") and len(label) < 64 for label in labels)


def _only(text, chars, least=1):
    """Whether the text has so many characters at least, and none but these."""
    return len(text) >= least and not text.strip(chars)


def _is_plain(text):
    """Whether it has neither control characters nor surrogates. Looks at bytes, because
    MicroPython would keep a name for each character.
    """
    try:
        data = text.encode()
    except ValueError:  # CPython encodes no surrogates
        return False
    before = 0
    for byte in data:
        if byte < 0x20 or byte == 0x7F or (before == 0xED and byte >= 0xA0):
            return False
        before = byte
    return True
