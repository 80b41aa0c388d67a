"""config.json judged by the rules of the board that will read it (firmware/lib/gate/settings/config.py).

What it would refuse at its start, and so stay offline, is refused before it is flashed; tests/vectors/settings.json
holds both to that. Only what is there is judged; the board says which keys it misses.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from tidegate import names
from tidegate.errors import TidegateError

SCHEMES = ("http", "https", "coap")
UPLINKS = ("mqtt", "coap", "both", "usb")
LEVELS = ("error", "info", "debug")
DROPS = ("oldest", "newest")
_TEXTS = {"product": 64, "vendor": 64, "board": 32}
_NUMBERS = {"telemetry_period_s": (1, 86400), "trial_timeout_s": (10, 3600), "restart_wait_s": (0, 604800)}
_STORE = {"segments": (2, 4096), "write_s": (1, 3600)}
_STREAM = {"period_ms": (20, 86_400_000), "window": (1, 65535)}
_FLAGS = ("dangerous", "clock")
# What config.json may hold, "" for the top. Keys of an application's own are below "app", as it likes.
_KNOWN = {
    "": (*_TEXTS, "device", "uplink", "log_level", "mqtt", "coap", "network", "payloads", "enrol", *_NUMBERS, *_FLAGS,
         "store", "streams", "app"),
    "mqtt.": ("host", "port", "tls"),
    "coap.": ("host", "port"),
    "store.": (*_STORE, "drop"),
}  # fmt: skip
_ADDRESS = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>[^/:]*)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/|/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*/)?"
)


class SettingError(TidegateError):
    """A setting that no board takes. key: its place, as streams.fast.window; what: is wrong with it."""

    def __init__(self, path: Path, key: str, what: str, remedy: str):
        super().__init__(f"{path}: {key} {what}", remedy)
        self.key, self.what = key, what


def check(path: Path, config: Mapping[str, Any]) -> None:
    """Raises SettingError, which names the file and the key, for a value that no board takes, and for a key that none
    reads.
    """
    for where, keys in _KNOWN.items():
        _keys(path, _inner(path, config, where[:-1]) if where else config, where, keys)
    _inner(path, config, "app")
    for key, most in _TEXTS.items():
        _text(path, config, key, most)
    if "device" in config and not names.DEVICE_ID.fits(config["device"]):
        _refuse(path, "device", f"must be {names.DEVICE_ID.rule}")
    for key, known in (("uplink", UPLINKS), ("log_level", LEVELS)):
        _choice(path, config, key, known)
    for key in ("mqtt", "coap"):
        place = _inner(path, config, key)
        if "host" in place and not names.HOST.fits(place["host"]):
            _refuse(path, f"{key}.host", f"must be {names.HOST.rule}")
        _numbers(path, place, f"{key}.", {"port": (1, 65535)})
        _flags(path, place, f"{key}.", ("tls",))
    for key in ("payloads", "enrol"):
        if key in config:
            _address(path, key, config[key])
    if config.get("uplink") == "usb" and str(config.get("payloads", "")).startswith("coap:"):
        _refuse(path, "payloads", "must start with http:// or https://, as uplink is usb")
    _numbers(path, config, "", _NUMBERS)
    _flags(path, config, "", _FLAGS)
    store = _inner(path, config, "store")
    _numbers(path, store, "store.", _STORE)
    _choice(path, store, "drop", DROPS, "store.")
    for name, given in _inner(path, config, "streams").items():
        where = f"streams.{name}."
        if not isinstance(given, dict):
            _refuse(path, where[:-1], "must be an object")
        _keys(path, given, where, (*_STREAM, "over"))
        _numbers(path, given, where, _STREAM)
        for measure, value in _inner(path, given, "over", where).items():
            if value is not None and not (_is_number(value) and math.isfinite(value)):
                _refuse(path, f"{where}over.{measure}", "must be a finite number")


def _keys(path: Path, values: Mapping[str, Any], place: str, known: tuple[str, ...]) -> None:
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            own = f"Known are {', '.join(known)}; the application's own are in an object `app`"
            remedy = f"Did you mean {place}{close[0]}?" if close else own
            raise SettingError(path, f"{place}{key}", "is a setting that no board has", remedy)


def _text(path: Path, values: Mapping[str, Any], key: str, most: int) -> None:
    if key not in values:
        return
    value = values[key]
    if not isinstance(value, str) or not 0 < len(value) <= most:
        _refuse(path, key, f"must be a text of 1 to {most} characters")
    if any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in value):
        _refuse(path, key, "must be without control characters and surrogates")


def _address(path: Path, key: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        _refuse(path, key, "must be a text of 1 to 200 characters")
    found = _ADDRESS.fullmatch(value)
    if not found or found["scheme"] not in SCHEMES or not names.HOST.fits(found["host"]):
        _refuse(
            path,
            key,
            "must look like http://host:port/ or http://host:port/path/, with https or coap as well; a space or "
            "another character that an address cannot have is encoded, such as %20",
        )
    if not 0 < int(found["port"] or 1) < 65536:
        _refuse(path, key, "has a port beyond 65535, or 0")


def _numbers(path: Path, values: Mapping[str, Any], place: str, known: Mapping[str, tuple[int, int]]) -> None:
    for key, (least, most) in known.items():
        value = values.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            _refuse(path, place + key, f"must be a whole number from {least} to {most}")


def _flags(path: Path, values: Mapping[str, Any], place: str, known: tuple[str, ...]) -> None:
    for key in known:
        if not isinstance(values.get(key, False), bool):
            _refuse(path, place + key, "must be true or false")


def _choice(path: Path, values: Mapping[str, Any], key: str, known: tuple[str, ...], place: str = "") -> None:
    if key in values and values[key] not in known:
        _refuse(path, place + key, "must be one of " + ", ".join(known))


def _inner(path: Path, values: Mapping[str, Any], key: str, place: str = "") -> Mapping[str, Any]:
    value = values.get(key, {})
    if not isinstance(value, dict):
        _refuse(path, place + key, "must be an object")
    return dict(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refuse(path: Path, key: str, what: str) -> NoReturn:
    raise SettingError(path, key, what, "Correct it")
