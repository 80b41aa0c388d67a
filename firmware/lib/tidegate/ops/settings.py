"""Opcodes about the settings that may change over the air (tidegate.settings)."""

from tidegate import settings


def get(call):
    return _answer(call.agent)


def set_(call, **given):
    if not given:
        raise settings.SettingError("say what: KEY=VALUE; config.get has the keys")
    settings.change(call.agent, given)
    return _answer(call.agent)


def reset(call, key):
    settings.change(call.agent, {}, key)
    return _answer(call.agent)


def _answer(agent):
    digest = agent.settings or b""
    return {
        "settings": settings.effective(agent),
        "changed": settings.load(agent.state),
        "digest": "".join("%02x" % byte for byte in digest),
        "restart": agent.restart_wanted,
    }
