"""The agent's parts that fuzzing needs, wherever in the agent they are: what runs seldom has modules of its own in the
agent that loads it when it runs."""

from tidegate.commands import Commands

try:
    from tidegate.failures import Failure
    from tidegate.succession import judge
except ImportError:
    from tidegate.reports import Failure

    from tidegate.rotation import judge

__all__ = ("Failure", "commands", "judge")


def commands(device, store, nonce, state, outbox, alarms, handlers):
    """tidegate.commands.Commands of a device that goes by this trust store."""
    try:
        from signedby import Signed
    except ImportError:
        return Commands(device, store, nonce, state, outbox, alarms, handlers, lambda: None)
    return Commands(Signed(device, store), nonce, state, outbox, alarms, handlers)
