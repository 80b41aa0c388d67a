"""Opcodes about the device as a whole: info, ops, ping, reboot, tasks, time."""

import gc
import os
import sys

from gate import commands
from gate.clock import ticks_diff, ticks_ms
from gate.commands import application_opcodes, builtin_opcodes


def info(call):
    agent = call.agent
    boot, board = agent.boot, agent.boot.board
    gc.collect()
    storage = os.statvfs(board.folder)
    answer = {
        "device": agent.device.id,
        "board": board.name,
        "arch": board.arch,
        "micropython": ".".join(str(part) for part in sys.implementation.version[:3]),
        "product": agent.release["product"],
        "version": agent.release["version"],
        "sequence": boot.running.sequence,
        "floor": boot.sequence_floor,
        "slot": boot.slot,
        "trial": boot.trial,
        "reset_cause": boot.reset_cause,
        "uptime_s": agent.uptime.seconds(),
        "heap_free": gc.mem_free() if hasattr(gc, "mem_free") else 0,
        "heap_used": gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0,
        "storage_size": storage[1] * storage[2],
        "storage_free": storage[0] * storage[3],
        "link": board.link(),
        "connected": agent.link.connected,
        "sessions": agent.link.sessions,
        "trust_version": agent.trust_version,
        "settings": agent.settings.hex() if agent.settings else "",
        "messages_waiting": len(agent.outbox.queue),
        "messages_dropped": agent.outbox.dropped,
        "log_lost": agent.log.lost,
        "log_writes": agent.log.writes,
    }
    answer.update(agent.telemetry.counts())
    return answer


def ops(call):
    """{name: [role, limit in s, heavy, {argument: [type, least, most, default]}]}."""
    board = call.agent.boot.board
    offered = {}
    for name in builtin_opcodes.here():
        entry = builtin_opcodes.TABLE[name]
        if not entry.function.startswith("host.") or hasattr(board, "spawn"):
            offered[name] = application_opcodes.describe(entry)
    for name, entry in commands.offered.items():
        offered.setdefault(name, application_opcodes.describe(entry))
    return offered


def ping(call):
    return {"uptime_s": call.agent.uptime.seconds()}


def reboot(call):
    call.after(call.agent.reboot)
    return {"reboot": True}


def tasks(call):
    """{name: [state, seconds since its last sign of life, its limit]}; None for one that waits,
    as ticks wrap after days.
    """
    agent = call.agent
    beats = {beat.name: beat for beat in agent.supervisor.beats}
    found = {}
    for job in agent.tasks.jobs:
        found[job.name] = ["waits", None, job.limit_s]
    for name, task in agent.tasks.live:
        beat = beats.get(name)
        if task.done():
            found[name] = ["ended"]
        elif beat is None:
            found[name] = ["runs"]
        else:
            since = None if beat.idle else ticks_diff(ticks_ms(), beat.last) // 1000
            found[name] = ["waits" if beat.idle else "works", since, beat.limit_s]
    return found


def time_(call):
    """clock: seconds since 1970, None if the clock cannot be trusted; operation_s: time of
    operation, over resets.
    """
    agent = call.agent
    return {
        "clock": agent.now(),
        "uptime_s": agent.uptime.seconds(),
        "operation_s": agent.telemetry.now(),
    }
