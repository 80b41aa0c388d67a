"""Opcodes about updates and slots."""

from gate.update import OFFER, accepted, retry

_PHASES = ("idle", "downloading", "downloaded", "updating")


def status(call):
    """What runs, what is being updated, and how the last trial ended, until that is reported."""
    agent = call.agent
    boot, state = agent.boot, agent.state
    answer = {
        "slot": boot.slot,
        "sequence": boot.running.sequence,
        "version": agent.release["version"],
        "digest": boot.running.digest.hex(),
        "floor": boot.sequence_floor,
        "trial": boot.trial,
        "state": _PHASES[agent.updater.reporter.state],
        "result": agent.updater.reporter.result,
        "offer_bytes": state.size(OFFER),
        "busy": bool(agent.device.updating),
    }
    sequence = accepted.load(state)[1]
    if answer["offer_bytes"] and sequence is not None:
        answer["offered_sequence"] = sequence
    restart = agent.updater.restart
    if restart and restart.waited_s() is not None:
        answer["waits_for_application_s"] = restart.waited_s()
    outcome = boot.outcome
    if outcome is not None:
        answer["outcome"] = outcome.reason if not outcome.confirmed else "confirmed"
    return answer


def now(call):
    """Checks the offer again; an update that waits for the network tries at once."""
    stored = call.agent.updater.again()
    call.agent.link.refresh()  # the server answers a birth with the newest offer
    return {"stored": stored, "asked": call.agent.link.announced}


def again(call):
    """Forgets what failed on this board and tries what is offered at once: banned images, content
    that the application refused, and whatever waits. lifted: images that were banned, or None
    where the loader is too old for that and has to be flashed again.
    """
    agent = call.agent
    boot = agent.boot
    lifted = boot.forgive() if hasattr(boot, "forgive") else None
    agent.state.remove(retry.FILE)
    agent.updater.forget()
    if agent.data:
        agent.data.forget()
    answer = now(call)
    answer["lifted"] = lifted
    return answer


def rollback(call):
    """Goes back to the slot that ran before: ends a trial, or selects a confirmed image that is
    not below the floor. Anything else would let an old release back in (docs/decisions/0006).
    """
    boot_rollback = _boot_rollback()

    boot = call.agent.boot
    sequence, why = boot_rollback.check(boot)
    if why:
        raise ValueError(why)
    call.after(lambda: _go(call.agent, boot_rollback))
    return {"to_sequence": sequence, "reboot": True}


def _go(agent, rollback):
    rollback.go(agent.boot)
    agent.reboot()


async def verify(call):
    """Compares each slot with the boot record, and its manifest with the trust store where the
    loader does. {slot: [sequence, state, whole, why not]}.
    """
    boot_rollback = _boot_rollback()

    answer = {}
    for name, verify_slot in boot_rollback.look(call.agent.boot):
        await call.pause()
        answer[name] = verify_slot(call.check)
    return answer


def _boot_rollback():
    """The loader's rollback module. An older loader calls it `back`: an update over the air brings
    a new agent, and leaves the loader as it is.
    """
    try:
        from boot import rollback
    except ImportError:
        from boot import back as rollback
    return rollback
