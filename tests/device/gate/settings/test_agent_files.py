"""What the agent reads from flash and keeps there: settings, keys, its own small files, ids."""

import hashlib
import json

import scratch
from check import equal, raises, skip, true, vectors
from gate import identity
from gate.files import SmallFiles
from gate.settings import stream_settings
from gate.settings.config import Config, ConfigError
from gate.telemetry.streams import Measure, Stream

GROUNDS = ("cpython", "unix", "cortex-m3")
GOOD = (
    '{"device": "gw-1", "product": "p", "vendor": "v.example", "board": "b", "payloads": "http://10.0.2.2:8080/",'
    ' "mqtt": {"host": "10.0.2.2", "port": 1884}, "telemetry_period_s": 5, "log_level": "debug"}'
)
SECRET = '{"user": "gw-1", "password": "hush"}'


def config(text=GOOD, secret=SECRET, board="b"):
    folder = scratch.folder()
    if text is not None:
        scratch.write(folder + "/config.json", text.encode())
    if secret is not None:
        scratch.write(folder + "/credentials.json", secret.encode())
    return Config(folder, board)


def wrong(old, new, *words):
    """The error with `old` replaced in the good file must hold these words, and be one line."""
    error = str(raises(ConfigError, config, GOOD.replace(old, new)))
    for word in ("config.json",) + words:
        true(word in error, "%r in %r" % (word, error))
    true("\n" not in error, error)
    return error


def test_good_settings():
    found = config()
    equal((found.mqtt_host, found.mqtt_port), ("10.0.2.2", 1884))
    equal(found.payloads, ("http", "10.0.2.2", 8080, "/"))
    equal((found.telemetry_period_s, found.trial_timeout_s, found.log_level), (5, 60, 2))
    equal((found.user, found.password), ("gw-1", "hush"))


def test_tls_in_the_settings():
    plain = config()
    equal((plain.mqtt_tls, plain.payloads_tls), (False, False))
    found = config(GOOD.replace("http:", "https:").replace('"port": 1884', '"tls": true'))
    equal((found.mqtt_tls, found.mqtt_port), (True, 8883))
    equal((found.payloads_tls, found.payloads), (True, ("https", "10.0.2.2", 8080, "/")))
    equal(
        config(GOOD.replace("http://10.0.2.2:8080/", "https://x.example/a/")).payloads,
        ("https", "x.example", 443, "/a/"),
    )


def test_bad_settings_name_the_key_and_the_remedy():
    wrong('"gw-1"', '"GW 1"', "device", "a-z", "flash")
    wrong('"device": "gw-1", ', "", "device", "missing")
    wrong('"gw-1"', "7", "device", "text")
    wrong('"board": "b"', '"board": "c"', "board", "'c'", "'b'")
    wrong('"mqtt": {"host": "10.0.2.2", "port": 1884}', '"mqtt": 5', "mqtt", "object")
    wrong('"port": 1884', '"port": 70000', "mqtt.port", "65535")
    wrong('"port": 1884', '"port": true', "mqtt.port")
    wrong("http://10.0.2.2:8080/", "ftp://10.0.2.2/", "payloads", "http://", "https://", "coap://")
    wrong('"port": 1884', '"port": 1884, "tls": 1', "mqtt.tls", "true or false")
    wrong("http://10.0.2.2:8080/", "http://10.0.2.2:x/", "payloads")
    wrong("http://10.0.2.2:8080/", "http://10.0.2.2/p", "payloads")
    wrong('"telemetry_period_s": 5', '"telemetry_period_s": 0', "telemetry_period_s", "1 to 86400")
    wrong('"debug"', '"loud"', "log_level", "error, info, debug")
    wrong("{", "[", "JSON")


def test_oversized_settings_are_not_read():
    folder = scratch.folder()
    with open(folder + "/config.json", "wb") as file:
        file.write(GOOD.encode())
        for _ in range(5):
            file.write(b" " * 1000)
    error = str(raises(ConfigError, Config, folder, "b"))
    true("not a JSON object" in error, error)


def test_missing_files_are_named():
    true("config.json is missing" in str(raises(ConfigError, config, None)))
    error = str(raises(ConfigError, config, GOOD, None))
    true("credentials.json is missing" in error, error)


def test_secrets_stay_out_of_errors():
    error = str(raises(ConfigError, config, GOOD, '{"user": "", "password": "hush"}'))
    true("user" in error and "hush" not in error, error)


def test_ids():
    equal(identity.vendor_id("arm.com"), bytes.fromhex("fa6b4a53d5ad5fdfbe9de663e4d41ffe"))
    try:
        import uuid
    except ImportError:
        skip("no module uuid to compare with")
    vendor = uuid.uuid5(uuid.NAMESPACE_DNS, "tidegate.example")
    for size in (0, 1, 38, 39, 40, 47, 48, 100, 103, 104):
        name = "x" * size
        equal(identity.uuid5(vendor.bytes, name), uuid.uuid5(vendor, name).bytes, "%d bytes" % size)
        text = name.encode()  # where hashlib has no SHA-1
        equal(identity._sha1(text), hashlib.sha1(text).digest(), "%d bytes" % size)
    equal(identity.class_id(vendor.bytes, "p", "b"), uuid.uuid5(vendor, "p/b").bytes)


def test_state_replaces_as_a_whole():
    state = SmallFiles(scratch.folder() + "/deeper/still")
    equal(state.load("x"), None)
    state.store("x", {1: b"one"})
    state.store("x", {1: b"two"})
    equal(state.load("x"), {1: b"two"})
    equal(state.names(), ["x"])
    state.remove("x")
    state.remove("x")
    equal(state.load("x", "default"), "default")


def test_damaged_state_is_not_used():
    state = SmallFiles(scratch.folder())
    state.write("x", b"\xff\xff")
    equal(state.load("x", 5), 5)
    with open(state.path("x"), "wb") as file:
        for _ in range(9):
            file.write(bytes(1000))
    equal(state.read("x"), None)


def test_a_setting_is_judged_as_the_host_judges_it():
    folder = scratch.folder()
    scratch.write(
        folder + "/credentials.json", ('{"user": "u", "password": "p", "coap_key": "%s"}' % ("00" * 32)).encode()
    )
    stream = Stream("demo", Measure("a", None, int))
    for row in vectors("settings", board=60):
        values = json.loads(GOOD)
        values["uplink"] = "both"
        values["coap"] = {"host": "10.0.2.2"}
        place = values
        parts = row["key"].split(".")
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = row["value"]
        try:
            scratch.write(folder + "/config.json", json.dumps(values).encode())
            found = Config(folder, "b")
            stream_settings.plan((stream,), found)
            stream_settings.store_plan(found)
            good = True
        except ConfigError:
            good = False
        equal(good, row["good"], "%s = %r" % (row["key"], row["value"]))


def test_a_setting_beyond_json_is_refused():
    found = config(GOOD.replace('"telemetry_period_s": 5', '"streams": {"demo": {"over": {"a": 1e999}}}'))
    true("finite" in str(raises(ConfigError, stream_settings.plan, (Stream("demo", Measure("a", None, int)),), found)))
