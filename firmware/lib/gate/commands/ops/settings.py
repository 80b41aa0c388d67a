"""Opcodes about the settings that may change over the air (gate.settings.overrides)."""

from gate.settings import overrides


def get(call):
    return _answer(call.agent)


def set_(call, **given):
    if not given:
        raise overrides.SettingError("no setting given; send KEY=VALUE, config.get lists the keys")
    overrides.change(call.agent, given)
    return _answer(call.agent)


def reset(call, key):
    overrides.change(call.agent, {}, key)
    return _answer(call.agent)


def _answer(agent):
    # MicroPython's b"".hex() is b"", so an empty digest is written out.
    return {
        "settings": overrides.effective(agent),
        "changed": overrides.load(agent.state),
        "digest": agent.settings.hex() if agent.settings else "",
        "restart": agent.restart_wanted,
    }
