"""What an application says of itself with decorators, and what runs the agent with it:

    from gate import command, measurement, ready, setting

    @measurement("temperature", "Cel", scale=10)
    def temperature():
        return sensor.read()

    limit = setting("limit", int, 0, 100, 40)

    @command("pump.stop")
    def stop(call):
        pump.off()

    @ready
    def ready_to_restart():
        return not pump.runs()

An application of these needs no start(boot). One that has its own calls gate.start(boot) in it, or
hands all to gate.Agent.
"""

import sys

from gate import console

_streams = []
_settings = []
_takers = {}
_checks = {}  # "health", "ready": function


def measurement(name, unit=None, scale=1, low=None, high=None, stream="app", **more):
    """Measures what the decorated function returns: an integer in 1/scale of the unit, a float in
    the unit, or None for no value now.

    name, unit: of the SenML record; low, high: what is believed, in units; stream: a gate.Stream,
    or the name of one that sends each sample at the device's period; more: tell, over and curve
    as of gate.Measure. Raises ValueError.
    """

    def offer(function):
        from gate.telemetry.streams import Measure

        found = _stream(stream)
        if name in [measure.name for measure in found.measures]:
            raise ValueError("stream %s: measurement %s is there twice" % (found.name, name))
        found.measures += (Measure(name, unit, function, scale, low, high, **more),)
        return function

    return offer


def command(name, role=2, **more):
    """Offers the decorated function as a signed command, as gate.opcode does: function(call,
    **arguments) -> dict or None.

    role: gate.READ, OPERATE (if none is given) or DANGEROUS; more: limit_s, heavy, and the
    arguments, name=(type, least, most[, default]). Raises ValueError.
    """
    from gate.commands.application_opcodes import opcode

    return opcode(name, role, **more)


class Setting:
    """One setting. value: what holds now; the default until the agent has read what was set."""

    def __init__(self, name, spec):
        self.name = name
        self.spec = spec
        self.value = spec[-1]
        self._take = None

    def __call__(self, function):
        """Decorates function(value), which is called with the value at the start, and with each
        that is set later.
        """
        self._take = function
        return self

    def use(self, value):
        """Makes it the value that holds."""
        self.value = value
        if self._take:
            try:
                self._take(value)
            except Exception as error:  # the value is right by its bounds, so it holds
                console.error("setting app.%s: %s: %s", self.name, type(error).__name__, error)


def setting(name, *spec):
    """A setting of one's own, app.NAME in `config get`, `config set`, fleet files and config.json:
    a Setting, or a decorator for a function(value) that becomes one.

    spec: type, least, most, default, the bounds being lengths for str; or bool, default. Raises
    ValueError.
    """
    from gate import values

    good = isinstance(name, str) and 0 < len(name) <= 32 and name.replace("_", "a").isalpha()
    if not good or name != name.lower():
        raise ValueError("setting %r: a to z and _, at most 32" % name)
    if not values.is_spec(spec) or spec[0] is bytes or not values.has_default(spec):
        raise ValueError("setting %s: give type, least, most, default, or bool, default" % name)
    values.check("the default of " + name, spec, spec[-1])
    if name in [other.name for other in _settings]:
        raise ValueError("setting %s is there twice" % name)
    made = Setting(name, spec)
    _settings.append(made)
    return made


def data_component(name):
    """Hands content of the data component `name` to the decorated function(path), which refuses it
    by returning False or raising.
    """

    def offer(function):
        _takers[name] = function
        return function

    return offer


def health(function):
    """The decorated function() -> bool says whether the application does its work: a new release
    is confirmed only then.
    """
    return _only("health", function)


def ready(function):
    """The decorated function() -> bool says whether now is a good time to restart. An update that
    is installed waits for it, for the device's restart_wait_s at most.
    """
    return _only("ready", function)


def start(boot):
    """Runs the agent with all that was decorated. boot: what the loader hands to app.start."""
    from gate.agent import Agent

    Agent(boot, tuple(_streams), data=_takers, settings=_settings, **_checks).run()


def _only(what, function):
    if what in _checks:
        raise ValueError("there is one function for %s" % what)
    _checks[what] = function
    return function


def _stream(stream):
    from gate.telemetry.streams import Stream

    for known in _streams:
        if stream in (known, known.name):
            return known
    made = Stream(stream) if isinstance(stream, str) else stream
    _streams.append(made)
    return made


# The loader calls app.start. While the application is imported it is here already.
if "app" in sys.modules and not hasattr(sys.modules["app"], "start"):
    sys.modules["app"].start = start
