"""The agent: keeps one gateway up to date and answerable. `tidegate.agent.Agent` composes it."""

PROTOCOL = 1  # version of what the device says, docs/wire.cddl
