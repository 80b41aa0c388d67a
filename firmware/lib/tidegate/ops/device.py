"""Opcodes about the device as a whole."""

import gc

from tidegate import catalog, commands, opcodes


def info(call):
    agent = call.agent
    boot = agent.boot
    gc.collect()
    answer = {
        "device": agent.site.device,
        "board": boot.board.name,
        "product": agent.release["product"],
        "version": agent.release["version"],
        "sequence": boot.running.sequence,
        "slot": boot.slot,
        "trial": boot.trial,
        "reset_cause": boot.reset_cause,
        "uptime_s": agent.uptime.seconds(),
        "heap_free": gc.mem_free() if hasattr(gc, "mem_free") else 0,
        "heap_used": gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0,
        "sessions": agent.link.sessions,
        "messages_dropped": agent.outbox.dropped,
    }
    answer.update(agent.telemetry.counts())
    return answer


def ops(call):
    offered = {name: opcodes.describe(entry) for name, entry in catalog.TABLE.items()}
    for name, entry in commands.offered.items():
        offered.setdefault(name, opcodes.describe(entry))
    return offered


def ping(call):
    return {"uptime_s": call.agent.uptime.seconds()}


def reboot(call):
    call.after(call.agent.reboot)
    return {"reboot": True}
