"""Settings over the air: taken all or none, checked as config.json is, there after a reset, bounded."""

import scratch
from check import equal, raises, true
from fake_agent import Agent, ask
from gate import console
from gate.commands.ops import settings as ops
from gate.settings import overrides, stream_settings
from gate.settings.config import Config
from gate.telemetry.streams import Measure, Stream

HEAP = "384k"


def streams():
    return (
        Stream("env", Measure("t", "Cel", lambda: 2050, 100, over=30), Measure("u", "V", lambda: None)),
        Stream("bus", Measure("v", "m/s", lambda: 1 // 0, 10), period_ms=200, window=50),
    )


def test_settings_are_taken_all_or_none():
    agent = Agent(streams())
    before = ask(agent, ops.get)[0]
    equal(before["changed"], {})
    equal(before["settings"]["telemetry_period_s"], 60)
    equal(before["settings"]["streams.env.period_ms"], 60000)
    equal(before["settings"]["streams.env.over.t"], 30.0)
    good = {"telemetry_period_s": 5, "log_level": "error"}
    for bad in (
        {"telemetry_period_s": 0},
        {"telemetry_period_s": "5"},
        {"telemetry_period_s": True},
        {"log_level": "loud"},
        {"log_level": 1},
        {"log_level": ["info"]},
        {"trial_timeout_s": 9},
        {"store.drop": "all"},
        {"store.segments": 1},
        {"store": {"segments": 3}},
        {"streams.env.window": 0},
        {"streams.env.period_ms": 19},
        {"streams.env.over.t": "hot"},
        {"streams.env.over.t": float("inf")},
        {"streams.env.over": 3},
        {"streams.none.window": 3},
        {"streams.env.over.none": 3},
        {"streams.env": {}},
        {"streams": {}},
        {"mqtt.host": "evil"},
        {"mqtt": 1},
        {"dangerous": True},
        {"device": "other"},
        {"": 1},
        {"a.b.c.d.e": 1},
    ):
        given = dict(good)
        given.update(bad)
        error = raises(overrides.SettingError, ask, agent, ops.set_, **given)
        true(str(error) and "flash" not in str(error), str(error))
        equal(ask(agent, ops.get)[0], before, repr(bad))
    raises(overrides.SettingError, ask, agent, ops.set_)
    equal((agent.settings, agent.link.refreshed, agent.restart_wanted), (None, 0, False))


def test_settings_take_effect_and_stay():
    level = console.level
    try:
        agent = Agent(streams())
        board = agent.boot.board
        overrides.configure(board, agent.state, agent.streams)
        stream_settings.tune(agent.streams, Config(board.folder, "b"))
        given = {"telemetry_period_s": 5, "log_level": "error", "trial_timeout_s": 90, "streams.env.over.t": 21.5}
        answer = ask(agent, ops.set_, **given)[0]
        env, bus = agent.streams
        equal((env.period_ms, bus.period_ms, env.measures[0].over), (5000, 200, 2150))
        equal((console.level, agent.trial_timeout_s), (console.ERROR, 90))
        equal((answer["restart"], answer["changed"], agent.link.refreshed), (False, given, 1))
        equal(len(agent.settings), 4)
        # what waits for a start
        answer = ask(agent, ops.set_, **{"streams.bus.window": 10, "store.segments": 8})[0]
        equal((answer["restart"], bus.window), (True, 50))
        equal((answer["settings"]["streams.bus.window"], answer["settings"]["store.segments"]), (10, 8))
        # the next start
        config, digest = overrides.configure(board, agent.state, agent.streams)
        equal((config.telemetry_period_s, config.trial_timeout_s, digest), (5, 90, agent.settings))
        # and back: first one place, then all
        answer = ask(agent, ops.reset, key="streams.env")[0]
        true("streams.env.over.t" not in answer["changed"] and answer["changed"]["telemetry_period_s"] == 5)
        equal(env.measures[0].over, 3000)
        raises(overrides.SettingError, ask, agent, ops.reset, key="streams.env")
        answer = ask(agent, ops.reset, key="")[0]
        equal((answer["changed"], answer["digest"], env.period_ms), ({}, "", 60000))
        equal(agent.state.size("settings"), 0)
    finally:
        console.set_level(level)


def test_settings_that_fit_no_more_do_not_count():
    agent = Agent(streams())
    board = agent.boot.board
    for kept in (
        {"telemetry_period_s": 0},
        {"log_level": 5},
        {"streams.env.window": "x"},
        [1],
        "x",
        {"mqtt.host": "y"},
    ):
        agent.state.store("settings", kept)
        config, digest = overrides.configure(board, agent.state, agent.streams)
        equal((config.telemetry_period_s, digest, config.mqtt_host), (60, None, "10.0.2.2"), repr(kept))
    scratch.write(agent.state.path("settings"), b"\xff damaged")
    equal(overrides.configure(board, agent.state, agent.streams)[1], None)
    agent.state.store("settings", {"telemetry_period_s": 7, "streams.gone.window": 3})  # of an earlier release
    equal(overrides.configure(board, agent.state, agent.streams)[0].telemetry_period_s, 7)


def test_settings_are_bounded():
    many = [Measure("m%d" % number, "V", None) for number in range(60)]
    agent = Agent((Stream("s", *many),))
    given = {"streams.s.over.m%d" % number: number for number in range(60)}
    raises(overrides.SettingError, ask, agent, ops.set_, **given)
