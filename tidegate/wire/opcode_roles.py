"""The roles that built-in opcodes require, for those who only relay commands.

The devices' own table is firmware/lib/gate/commands/builtin_opcodes.py; tests/host/wire/test_opcodes.py compares. An
opcode that is not here may be an application's: nobody but the device knows what it needs.
"""

from __future__ import annotations

READ, OPERATE, DANGEROUS = 1, 2, 3
ROLES = {READ: "read", OPERATE: "operate", DANGEROUS: "dangerous"}

NOT_READ = frozenset(
    {
        "bench",
        "config.reset",
        "config.set",
        "exec",
        "log.level",
        "reboot",
        "update.now",
        "update.retry",
        "update.rollback",
    }
)
