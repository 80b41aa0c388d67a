"""What config.json may change in the streams: typed, checked, with the key in every error."""

import scratch
from check import equal, raises, true
from gate.settings import stream_settings
from gate.settings.config import ConfigError
from gate.telemetry.streams import Measure, Stream
from test_agent_files import GOOD, config

GROUNDS = ("cpython", "unix", "cortex-m3")
HEAP = "384k"


def made():
    return (
        Stream("env", Measure("t", "Cel", None, 100), Measure("u", "V", None)),
        Stream("bus", Measure("v", "m/s", None, 10, over=5), period_ms=200, window=50),
        Stream("slow", Measure("w", "V", None), period_s=3600),
    )


def tuned(more):
    streams = made()
    stream_settings.tune(streams, config(GOOD[:-1] + more + "}"))
    return [(stream.period_ms, stream.window, stream.measures[0].over) for stream in streams]


def stored(more):
    return stream_settings.store(config(GOOD[:-1] + more + "}"), scratch.folder(), None)


def test_nothing_said_is_the_applications():
    equal(tuned(""), [(5000, 1, None), (200, 50, 50), (3600000, 1, None)])
    ring, write_s = stored("")
    equal((ring._most, ring.newest, write_s), (64, False, 30))


def test_what_is_said_counts():
    more = ', "streams": {"env": {"period_ms": 20, "over": {"t": 21.5}}, "bus": {"window": 300, "over": {"v": 7}}}'
    equal(tuned(more), [(20, 1, 2150), (200, 300, 70), (3600000, 1, None)])
    ring, write_s = stored(', "store": {"segments": 2, "drop": "newest", "write_s": 3600}')
    equal((ring._most, ring.newest, write_s), (2, True, 3600))


def test_what_this_release_has_not_is_passed_over():
    equal(tuned(', "streams": {"old": {"window": 2}, "env": {"over": {"x": 1}}}')[0], (5000, 1, None))


def test_errors_name_the_key():
    for more, key in (
        ('"streams": 5', "streams"),
        ('"streams": {"env": 5}', "streams.env"),
        ('"streams": {"env": {"period_ms": 19}}', "streams.env.period_ms"),
        ('"streams": {"env": {"period_ms": "1 s"}}', "streams.env.period_ms"),
        ('"streams": {"env": {"period_ms": 0.5}}', "streams.env.period_ms"),
        ('"streams": {"bus": {"window": 0}}', "streams.bus.window"),
        ('"streams": {"bus": {"window": 65536}}', "streams.bus.window"),
        ('"streams": {"bus": {"window": true}}', "streams.bus.window"),
        ('"streams": {"bus": {"over": 5}}', "streams.bus.over"),
        ('"streams": {"bus": {"over": {"v": "fast"}}}', "streams.bus.over.v"),
        ('"streams": {"bus": {"over": {"v": true}}}', "streams.bus.over.v"),
    ):
        error = str(raises(ConfigError, tuned, ", " + more))
        true("config.json: " + key + " " in error, "%r in %r" % (key, error))
    for more, key in (
        ('"store": []', "store"),
        ('"store": {"segments": 1}', "store.segments"),
        ('"store": {"segments": 5000}', "store.segments"),
        ('"store": {"drop": "all"}', "store.drop"),
        ('"store": {"write_s": 0}', "store.write_s"),
    ):
        error = str(raises(ConfigError, stored, ", " + more))
        true("config.json: " + key + " " in error, "%r in %r" % (key, error))
