"""The opcodes every device offers, and where their functions are (docs/diagnostics.md). Imported
when a command came, and let go of after it.
"""

import sys

from gate.commands.registry import DANGEROUS, OPERATE, READ

_PATH = (str, 1, 128)
_HOST = (str, 1, 128)

# name: (module of gate.commands.ops, function, role, time limit in s, heavy,
# {argument: specification})
TABLE = {
    "bench": ("bench", "bench", OPERATE, 60, True, {}),
    "config.get": ("settings", "get", READ, 10, False, {}),
    "config.reset": ("settings", "reset", OPERATE, 10, False, {"key": (str, 0, 64, "")}),
    "config.set": ("settings", "set_", OPERATE, 10, False, {"*": (str, 0, 64)}),
    "exec": ("execute", "exec_", DANGEROUS, 60, True, {"code": (str, 1, 900)}),
    "fs.cat": (
        "files",
        "cat",
        READ,
        20,
        False,
        {"path": _PATH, "offset": (int, 0, 1 << 30, 0), "size": (int, 1, 12288, 2048)},
    ),
    "fs.hash": ("files", "hash_", READ, 60, True, {"path": _PATH}),
    "fs.ls": ("files", "ls", READ, 20, False, {"path": (str, 1, 128, "/")}),
    "fs.stat": ("files", "stat", READ, 10, False, {"path": _PATH}),
    "gc": ("memory", "collect", READ, 10, False, {}),
    "host.df": ("host", "df", READ, 10, False, {}),
    "host.fw_printenv": ("host", "fw_printenv", READ, 10, False, {"name": (str, 0, 64, "")}),
    "host.ip": ("host", "ip", READ, 10, False, {}),
    "host.journalctl": ("host", "journalctl", READ, 20, False, {"n": (int, 1, 200, 50)}),
    "host.ss": ("host", "ss", READ, 10, False, {}),
    "info": ("device", "info", READ, 10, False, {}),
    "log.level": ("logs", "level", OPERATE, 10, False, {"level": (str, 0, 5, "")}),
    "log.tail": (
        "logs",
        "tail",
        READ,
        20,
        False,
        {"n": (int, 1, 200, 20), "level": (str, 4, 5, "debug")},
    ),
    "mem": ("memory", "mem", READ, 10, False, {}),
    "mqtt": ("uplink", "mqtt", READ, 10, False, {}),
    "net": ("network", "net", READ, 10, False, {}),
    "net.connect": (
        "network",
        "connect",
        READ,
        20,
        False,
        {"host": _HOST, "port": (int, 1, 65535), "timeout_s": (int, 1, 10, 5)},
    ),
    "net.ping": ("network", "ping", READ, 20, False, {"host": _HOST, "n": (int, 1, 5, 3)}),
    "net.resolve": ("network", "resolve", READ, 20, False, {"host": _HOST}),
    "ops": ("device", "ops", READ, 10, False, {}),
    "ping": ("device", "ping", READ, 10, False, {}),
    "reboot": ("device", "reboot", OPERATE, 10, False, {}),
    "sensors": ("sensors", "sensors", READ, 20, False, {}),
    "slots.verify": ("updates", "verify", READ, 60, True, {}),
    "tasks": ("device", "tasks", READ, 10, False, {}),
    "time": ("device", "time_", READ, 10, False, {}),
    "update.now": ("updates", "now", OPERATE, 10, False, {}),
    "update.rollback": ("updates", "rollback", OPERATE, 20, False, {}),
    "update.status": ("updates", "status", READ, 10, False, {}),
}


def find(name):
    """(function, role, limit in s, heavy, {argument: specification}) of a built-in opcode, or
    None.
    """
    entry = TABLE.get(name)
    if entry is None:
        return None
    place = "gate.commands.ops." + entry[0]
    __import__(place)
    return (getattr(sys.modules[place], entry[1]),) + entry[2:]
