"""Signed commands: verify, execute, answer. Here: what the resident queue, the modules on demand
and the application's opcodes share.
"""

from gate.clock import const

offered = {}  # name: gate.commands.application_opcodes.Opcode, of the application's opcodes

# result-code in docs/wire.cddl
DONE = const(0)
FAILED = const(1)
REFUSED = const(2)
