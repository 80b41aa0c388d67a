"""What an application says with decorators comes to the agent; what cannot be is refused when it starts."""

import sys

from check import equal, raises, true
from fake_agent import Agent, ask
from gate import agent as agent_module
from gate import commands, ondemand
from gate.commands.ops import settings as ops
from gate.settings import overrides

HEAP = "384k"


class Started:
    """In place of gate.agent.Agent: what it is given."""

    def __init__(self, boot, streams, **more):
        Started.given = [boot, streams, more]

    def run(self):
        Started.ran = True


class fresh:
    """gate.application as after a reset; `app` stands for the application that imports it."""

    class App:
        pass

    def __init__(self, app=None):
        self.app = app or self.App()

    def __enter__(self):
        self._real = agent_module.Agent
        agent_module.Agent = Started
        sys.modules.pop("gate.application", None)
        sys.modules["app"] = self.app
        import gate.application

        del gate.application
        return sys.modules["gate.application"]

    def __exit__(self, *_):
        agent_module.Agent = self._real
        del sys.modules["app"], sys.modules["gate.application"]
        commands.offered.clear()


def test_all_of_it():
    app = fresh()
    with app as gate:

        @gate.measurement("temperature", "Cel", 10, -40, 125)
        def temperature():
            return 215

        @gate.measurement("supply", "V", stream="power")
        def supply():
            return 12

        @gate.measurement("current", "A", 1000, stream="power", over=3)
        def current():
            return 0

        @gate.command("pump.stop")
        def stop(call):
            return {"stopped": True}

        @gate.command("pump.look", 1, limit_s=20, deep=(bool, False))
        def look(call, deep):
            pass

        @gate.data_component("curve")
        def take(path):
            pass

        @gate.health
        def healthy():
            return True

        @gate.ready
        def idle():
            return False

        limit = gate.setting("limit", int, 0, 100, 40)
        equal((temperature(), idle(), limit.value), (215, False, 40))
        app.app.start("boot")
        boot, streams, more = Started.given
        equal(boot, "boot")
        equal([(s.name, [m.name for m in s.measures]) for s in streams],
              [("app", ["temperature"]), ("power", ["supply", "current"])])  # fmt: skip
        measure = streams[0].measures[0]
        equal((measure.read(), measure.scale, measure.low, measure.high), (215, 10, -400, 1250))
        equal(streams[1].measures[1].over, 3000)
        equal(more, {"data": {"curve": take}, "settings": [limit], "health": healthy, "ready": idle})
        entry = commands.offered["pump.stop"]
        equal((entry.function, entry.role, entry.limit_s), (stop, 2, 10))
        entry = commands.offered["pump.look"]
        equal((entry.role, entry.limit_s, entry.arguments), (1, 20, {"deep": (bool, False)}))


def test_an_application_s_own_start_stays():
    class App:
        @staticmethod
        def start(boot):
            return "own"

    app = fresh(App())
    with app:
        equal(app.app.start(None), "own")


def test_a_stream_of_one_s_own():
    from gate.telemetry.streams import Stream

    with fresh() as gate:
        fast = Stream("fast", period_s=1, window=60)
        gate.measurement("a", "V", stream=fast)(lambda: 1)
        gate.measurement("b", "V", stream="fast")(lambda: 1)
        equal([measure.name for measure in fast.measures], ["a", "b"])


def test_what_cannot_be():
    with fresh() as gate:
        gate.health(lambda: True)
        gate.ready(lambda: True)
        gate.measurement("t", "Cel")(lambda: 1)
        gate.setting("there", bool, True)
        for wrong in (
            lambda: gate.health(lambda: True),
            lambda: gate.ready(lambda: True),
            lambda: gate.measurement("t", "Cel")(lambda: 1),
            lambda: gate.measurement("no spaces", "Cel")(lambda: 1),
            lambda: gate.measurement("x", "Cel", stream="no spaces")(lambda: 1),
            lambda: gate.setting("there", bool, True),
            lambda: gate.setting("x", int, 0, 100),
            lambda: gate.setting("x", int, 0, 100, 101),
            lambda: gate.setting("x", int, 100, 0, 50),
            lambda: gate.setting("x", bool),
            lambda: gate.setting("x", bytes, 0, 3, b""),
            lambda: gate.setting("x", list, 0, 3, []),
            lambda: gate.setting("x.y", bool, True),
            lambda: gate.setting("X", bool, True),
            lambda: gate.setting("", bool, True),
            lambda: gate.setting("a" * 33, bool, True),
            lambda: gate.command("Pump", 2),
            lambda: gate.command("pump", 4),
        ):
            error = raises(ValueError, wrong)
            true(str(error))


def test_settings_of_one_s_own():
    with fresh() as gate:
        taken = []
        limit = gate.setting("limit", int, 0, 100, 40)

        @gate.setting("mode", str, 1, 8, "auto")
        def mode(value):
            taken.append(value)

        agent = Agent((), ', "app": {"limit": 7, "more": 1}')
        agent.own_settings = [limit, mode]
        board = agent.boot.board
        overrides.use_own(agent.own_settings, overrides.configure(board, agent.state, ())[0])
        equal((limit.value, mode.value, taken), (7, "auto", ["auto"]))
        before = ask(agent, ops.get)[0]["settings"]
        equal((before["app.limit"], before["app.mode"]), (7, "auto"))
        for wrong in ({"app.limit": 101}, {"app.limit": "7"}, {"app.limit": True}, {"app.mode": ""}, {"app.none": 1},
                      {"app": 1}, {"app.limit.x": 1}):  # fmt: skip
            given = {"app.mode": "off"}
            given.update(wrong)
            raises(overrides.SettingError, ask, agent, ops.set_, **given)
            equal((limit.value, mode.value, agent.settings), (7, "auto", None))
        error = raises(overrides.SettingError, ask, agent, ops.set_, **{"app.limit": 101})
        equal(str(error), "app.limit is 101; it must be a whole number from 0 to 100")
        error = raises(overrides.SettingError, ask, agent, ops.set_, **{"app.none": 1})
        equal(str(error), "app.none: this application has no such setting; it has app.limit, app.mode")
        error = raises(overrides.SettingError, ask, agent, ops.set_, limit=1)
        equal(str(error), "limit cannot be set over the air; its name is app.limit")
        error = raises(overrides.SettingError, ask, agent, ops.set_, device="x")
        equal(str(error), "device cannot be set over the air; see `tidegate docs config`")
        answer = ask(agent, ops.set_, **{"app.limit": 9, "app.mode": "off"})[0]
        equal((limit.value, taken, answer["settings"]["app.limit"], answer["restart"]), (9, ["auto", "off"], 9, False))
        config, digest = overrides.configure(board, agent.state, ())  # the next start
        equal(digest, agent.settings)
        limit.value = 40
        overrides.use_own(agent.own_settings, config)
        equal(limit.value, 9)
        ask(agent, ops.reset, key="app.limit")
        equal(limit.value, 7)


def test_a_value_that_fits_no_more_is_left_out_alone():
    """A release with other bounds still starts, and other settings hold."""
    with fresh() as gate:
        limit = gate.setting("limit", int, 0, 5, 3)
        for more in (', "app": {"limit": 7}', ', "app": 3', ', "app": {"limit": null}'):
            agent = Agent((), more)
            agent.own_settings = [limit]
            agent.state.store("settings", {"telemetry_period_s": 9})
            config = overrides.configure(agent.boot.board, agent.state, ())[0]
            overrides.use_own(agent.own_settings, config)
            equal((limit.value, config.telemetry_period_s), (3, 9))


def test_a_function_that_raises_stops_nothing():
    with fresh() as gate:

        @gate.setting("limit", int, 0, 100, 40)
        def limit(value):
            raise OSError("no pump")

        limit.use(50)
        equal(limit.value, 50)


def test_the_values_module_is_let_go_of():
    true(any(ondemand._covers(entry, "gate.values") for entry in ondemand._ON_DEMAND.split()))
