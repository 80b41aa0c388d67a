"""The opcodes every device offers, and where their functions are (docs/diagnostics.md). Imported
when a command came, and let go of after it.
"""

import sys

from tidegate.opcodes import OPERATE, READ

# name: (module of tidegate.ops, function, role, time limit in s, heavy, {argument: specification})
TABLE = {
    "info": ("device", "info", READ, 10, False, {}),
    "ops": ("device", "ops", READ, 10, False, {}),
    "ping": ("device", "ping", READ, 10, False, {}),
    "reboot": ("device", "reboot", OPERATE, 10, False, {}),
}


def find(name):
    """(function, role, limit in s, heavy, {argument: specification}) of a built-in opcode, or
    None.
    """
    entry = TABLE.get(name)
    if entry is None:
        return None
    place = "tidegate.ops." + entry[0]
    __import__(place)
    return (getattr(sys.modules[place], entry[1]),) + entry[2:]
