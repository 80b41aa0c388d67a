"""The agent: keeps one gateway up to date and answerable. `gate.agent.Agent` composes it."""

PROTOCOL = 1  # version of what the device says, docs/wire.cddl


class LinkError(Exception):
    """What was to be said has not arrived, as far as is known; the text says why."""


class ConfigError(Exception):
    """A flashed file is missing or wrong; the text names the file, the key and the remedy, in one
    line.
    """
