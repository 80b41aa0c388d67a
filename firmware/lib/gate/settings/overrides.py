"""Settings changed over the air: a map of dotted keys beside config.json, whose values override
those of the file. Identity, broker and keys cannot be set.

They are checked by the code that checks config.json, all together and before anything is stored or
changed. If a later release does not accept them, the values of the file are used.
"""

import hashlib

import cbor

from gate import ConfigError, console, values
from gate.clock import const
from gate.settings import stream_settings
from gate.settings.config import Config

FILE = "settings"  # in the agent's state: the map, deterministic CBOR

_MOST = const(48)  # keys
_SIZE = const(1024)  # bytes of the file
_PLAIN = (
    "telemetry_period_s trial_timeout_s restart_wait_s log_level "
    "store.segments store.drop store.write_s"
)


class SettingError(Exception):
    """The settings are rejected, and nothing was changed; the text says which key and why."""


def configure(board, state, streams):
    """(Config, digest of the overrides or None), at a start. Raises ConfigError."""
    changed = load(state)
    if changed:
        try:
            config = _checked(board, changed, streams)
            return config, digest(changed)
        except ConfigError as error:
            console.error("the settings made over the air are not used: %s", _plain(error))
    return Config(board.folder, board.name), None


def load(state):
    """The overrides, {dotted key: value}."""
    changed = state.load(FILE, {})
    if not isinstance(changed, dict):
        return {}
    return {key: value for key, value in changed.items() if _is_settable(key)}


def digest(changed):
    """4 bytes that identify a set of overrides; None for an empty one."""
    return hashlib.sha256(cbor.dumps(changed)).digest()[:4] if changed else None


def change(agent, given, without=None):
    """Sets overrides, or drops them: all of it, or raises SettingError. What can takes effect at
    once.

    given: {dotted key: value}; without: None, or drops this key and those below it, "" all.
    """
    old = load(agent.state)
    new = {}
    if without is not None:
        new = {key: old[key] for key in old if not _is_below(key, without)}
        if without and len(new) == len(old):
            raise SettingError("%s is not set" % without)
    else:
        new.update(old)
        for key in given:
            if not _is_settable(key):
                own = key in [setting.name for setting in agent.own_settings]
                hint = "its name is app." + key if own else "see `tidegate docs config`"
                raise SettingError("%s cannot be set over the air; %s" % (key, hint))
            _check_names(key, agent.streams)
            _check_own(key, given[key], agent.own_settings)
        new.update(given)
    data = cbor.dumps(new)
    if len(new) > _MOST or len(data) > _SIZE:
        raise SettingError("more than %d settings, or %d bytes of them" % (_MOST, _SIZE))
    try:
        config = _checked(agent.boot.board, new, agent.streams)
    except ConfigError as error:
        raise SettingError(_plain(error))
    if new == old:
        return
    if new:
        agent.state.write(FILE, data)
    else:
        agent.state.remove(FILE)
    agent.settings = digest(new)
    if any(_waits(key) for key in set(old) | set(new) if old.get(key) != new.get(key)):
        agent.restart_wanted = True
    _apply(agent, config)
    agent.link.refresh()  # the birth says which settings these are


def effective(agent):
    """{dotted key: value} of all settings, in effect from the next start on at the latest."""
    board, streams = agent.boot.board, agent.streams
    config = configure(board, agent.state, streams)[0]
    segments, newest, write_s = stream_settings.store_plan(config)
    found = {
        "telemetry_period_s": config.telemetry_period_s,
        "trial_timeout_s": config.trial_timeout_s,
        "restart_wait_s": config.restart_wait_s,
        "log_level": console.LEVELS[config.log_level],
        "store.segments": segments,
        "store.drop": stream_settings.DROPS[newest],
        "store.write_s": write_s,
    }
    for setting, value in _own_values(agent.own_settings, config):
        found["app." + setting.name] = value
    for stream in streams:
        place = "streams.%s." % stream.name
        for thing, name, value in stream_settings.plan(streams, config):
            if thing is stream:
                found[place + name] = value
            elif thing in stream.measures and value is not None:
                found[place + "over." + thing.name] = value / thing.scale
    return found


def use_own(settings, config):
    """Applies config.json, and what was set over the air, to the application's own settings."""
    for setting, value in _own_values(settings, config):
        setting.use(value)


# ---------------------------------------------------------------- inside


def _own_values(settings, config):
    """[(setting, value)]. A value that does not fit, perhaps of another release, does not count:
    an application must not be lost to it.
    """
    given = config.app if isinstance(config.app, dict) else {}
    found = []
    for setting in settings:
        value = given.get(setting.name, setting.spec[-1])
        try:
            values.check("app." + setting.name, setting.spec, value)
        except ValueError as error:
            console.error("%s; the default is used", error)
            value = setting.spec[-1]
        found.append((setting, value))
    return found


def _checked(board, changed, streams):
    """The Config with these settings; raises ConfigError."""
    try:
        config = Config(board.folder, board.name, changed)
        stream_settings.plan(streams, config)
        stream_settings.store_plan(config)
    except (TypeError, AttributeError, ValueError, OverflowError) as error:  # not foreseen
        raise ConfigError("config.json: a value is of the wrong kind (%s)" % error)
    return config


def _apply(agent, config):
    console.set_level(config.log_level)
    agent.trial_timeout_s = config.trial_timeout_s
    agent.restart_wait_s = config.restart_wait_s
    for setting, value in _own_values(agent.own_settings, config):
        if value != setting.value:
            setting.use(value)
    for thing, name, value in stream_settings.plan(agent.streams, config):
        if name == "window":
            continue
        stream_settings.put(thing, name, value)
        if name == "period_ms":
            thing.due_ms = min(thing.due_ms, value)


def _is_settable(key):
    if not isinstance(key, str):
        return False
    parts = key.split(".")
    if parts[0] == "app":
        return len(parts) == 2
    if parts[0] != "streams":
        return key in _PLAIN.split()
    if len(parts) == 3:
        return parts[2] in ("period_ms", "window")
    return len(parts) == 4 and parts[2] == "over"


def _check_names(key, streams):
    """Raises SettingError for a stream or measurement that this application does not have."""
    parts = key.split(".")
    if parts[0] != "streams":
        return
    for stream in streams:
        if stream.name == parts[1]:
            if len(parts) == 3 or parts[3] in [measure.name for measure in stream.measures]:
                return
            raise SettingError("%s: the stream has no measurement %s" % (key, parts[3]))
    known = ", ".join(stream.name for stream in streams) or "none"
    raise SettingError("%s: this application has no such stream; it has %s" % (key, known))


def _check_own(key, value, settings):
    """Raises SettingError for a value that the application's own setting does not take."""
    if not key.startswith("app."):
        return
    for setting in settings:
        if key == "app." + setting.name:
            try:
                values.check(key, setting.spec, value)
            except ValueError as error:
                raise SettingError(str(error))
            return
    known = ", ".join("app." + setting.name for setting in settings) or "none"
    raise SettingError("%s: this application has no such setting; it has %s" % (key, known))


def _is_below(key, place):
    return not place or key == place or key.startswith(place + ".")


def _waits(key):
    """Whether a setting takes effect at the next start only."""
    return key.startswith("store.") or key.endswith(".window")


def _plain(error):
    """A ConfigError's text without the file and the remedy, which is flashing."""
    text = str(error).split("; flash it")[0]
    return text[text.find(": ") + 2 :]
