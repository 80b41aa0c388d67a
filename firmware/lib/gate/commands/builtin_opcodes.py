"""The built-in opcodes and where their functions are (docs/diagnostics.md). Imported when a
command arrives, and released after it.
"""

import os
import sys

from gate import commands
from gate.commands.application_opcodes import DANGEROUS, OPERATE, READ, Opcode

_PATH = (str, 1, 128)
_HOST = (str, 1, 128)

# A function is named by its module of gate.commands.ops; find() looks it up.
TABLE = {
    "bench": Opcode("bench.bench", OPERATE, 60, True, {}),
    "config.get": Opcode("settings.get", READ, 10, False, {}),
    "config.reset": Opcode("settings.reset", OPERATE, 10, False, {"key": (str, 0, 64, "")}),
    "config.set": Opcode("settings.set_", OPERATE, 10, False, {"*": (str, 0, 64)}),
    "exec": Opcode("execute.exec_", DANGEROUS, 60, True, {"code": (str, 1, 900)}),
    "fs.cat": Opcode(
        "files.cat",
        READ,
        20,
        False,
        {"path": _PATH, "offset": (int, 0, 1 << 30, 0), "size": (int, 1, 12288, 2048)},
    ),
    "fs.hash": Opcode("files.hash_", READ, 60, True, {"path": _PATH}),
    "fs.ls": Opcode("files.ls", READ, 20, False, {"path": (str, 1, 128, "/")}),
    "fs.stat": Opcode("files.stat", READ, 10, False, {"path": _PATH}),
    "gc": Opcode("memory.collect", READ, 10, False, {}),
    "host.df": Opcode("host.df", READ, 10, False, {}),
    "host.fw_printenv": Opcode("host.fw_printenv", READ, 10, False, {"name": (str, 0, 64, "")}),
    "host.ip": Opcode("host.ip", READ, 10, False, {}),
    "host.journalctl": Opcode("host.journalctl", READ, 20, False, {"n": (int, 1, 200, 50)}),
    "host.ss": Opcode("host.ss", READ, 10, False, {}),
    "info": Opcode("device.info", READ, 10, False, {}),
    "log.level": Opcode("logs.level", OPERATE, 10, False, {"level": (str, 0, 5, "")}),
    "log.tail": Opcode(
        "logs.tail",
        READ,
        20,
        False,
        {"n": (int, 1, 200, 20), "level": (str, 4, 5, "debug")},
    ),
    "mem": Opcode("memory.mem", READ, 10, False, {}),
    "mqtt": Opcode("uplink.mqtt", READ, 10, False, {}),
    "net": Opcode("network.net", READ, 10, False, {}),
    "net.connect": Opcode(
        "network.connect",
        READ,
        20,
        False,
        {"host": _HOST, "port": (int, 1, 65535), "timeout_s": (int, 1, 10, 5)},
    ),
    "net.ping": Opcode("network.ping", READ, 20, False, {"host": _HOST, "n": (int, 1, 5, 3)}),
    "net.resolve": Opcode("network.resolve", READ, 20, False, {"host": _HOST}),
    "ops": Opcode("device.ops", READ, 10, False, {}),
    "ping": Opcode("device.ping", READ, 10, False, {}),
    "reboot": Opcode("device.reboot", OPERATE, 10, False, {}),
    "sensors": Opcode("sensors.sensors", READ, 20, False, {}),
    "slots.verify": Opcode("updates.verify", READ, 60, True, {}),
    "tasks": Opcode("device.tasks", READ, 10, False, {}),
    "time": Opcode("device.time_", READ, 10, False, {}),
    "update.now": Opcode("updates.now", OPERATE, 10, False, {}),
    "update.retry": Opcode("updates.again", OPERATE, 20, False, {}),
    "update.rollback": Opcode("updates.rollback", OPERATE, 20, False, {}),
    "update.status": Opcode("updates.status", READ, 10, False, {}),
}


def here():
    """The names of the built-in opcodes whose functions this image holds (docs/image.md)."""
    path = commands.__path__
    files = os.listdir((path if isinstance(path, str) else path[0]) + "/ops")
    held = [name.partition(".")[0] for name in files]
    return [name for name in TABLE if TABLE[name].function.partition(".")[0] in held]


def is_here(name):
    """Whether it is no built-in opcode that this image lacks."""
    return name not in TABLE or name in here()


def find(name):
    """The Opcode of a built-in opcode, with its function imported; None if there is none. Raises
    ImportError where its function is not in this image.
    """
    entry = TABLE.get(name)
    if entry is None:
        return None
    module, _, function = entry.function.rpartition(".")
    module = "gate.commands.ops." + module
    __import__(module)
    return Opcode(
        getattr(sys.modules[module], function),
        entry.role,
        entry.limit_s,
        entry.heavy,
        entry.arguments,
    )
