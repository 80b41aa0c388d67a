"""Opcodes: the operations that signed commands may call. An application adds its own with a
decorator:

    from gate.commands.application_opcodes import OPERATE, opcode

    @opcode("valve.set", OPERATE, limit_s=10, percent=(int, 0, 100))
    def set_valve(call, percent):
        valve.move_to(percent)
        return {"percent": percent}

docs/commands.md has the rules. The built-in opcodes are in gate.commands.builtin_opcodes.
"""

from collections import namedtuple

from gate import commands, values
from gate.clock import const

# Who may call it: READ a diagnose or a command quorum, OPERATE a command quorum, DANGEROUS a
# command quorum, where config.json says "dangerous": true.
READ = const(1)
OPERATE = const(2)
DANGEROUS = const(3)

LIMIT_S = const(10)  # unless the opcode sets another
MOST_S = const(120)  # the longest limit; the supervisor resets the board a minute later
_NAME_SIZE = const(32)
_NAME_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
_MOST_ARGUMENTS = const(8)

# function: function(call, **arguments) -> dict or None, or in the catalog "module.function" of
# gate.commands.ops; role: READ, OPERATE or DANGEROUS; limit_s: seconds it may take; heavy: whether
# no update may run beside it, for its memory or time; arguments: {name: specification}
Opcode = namedtuple("Opcode", ("function", "role", "limit_s", "heavy", "arguments"))


def opcode(name, role, limit_s=LIMIT_S, heavy=False, **arguments):
    """Offers the decorated function, plain or async, as opcode `name`: function(call, **arguments)
    -> dict, the answer, or None. It gets a gate.commands.call.Call.

    arguments: name=(type, least, most[, default]); the bounds are lengths for str (characters) and
    bytes; (bool,) or (bool, default). One with a default may be left out. Raises ValueError, when
    the application starts, for a name, role, limit or specification that is not valid.
    """

    def offer(function):
        commands.offered[name] = Opcode(function, role, limit_s, heavy, arguments)
        return function

    _check_name(name)
    if name in commands.offered:
        raise ValueError("opcode %s is registered twice" % name)
    if role not in (READ, OPERATE, DANGEROUS):
        raise ValueError("opcode %s: the role is READ, OPERATE or DANGEROUS" % name)
    if not 1 <= limit_s <= MOST_S:
        raise ValueError("opcode %s: limit_s is 1 to %d" % (name, MOST_S))
    if len(arguments) > _MOST_ARGUMENTS:
        raise ValueError("opcode %s: at most %d arguments" % (name, _MOST_ARGUMENTS))
    for key, spec in arguments.items():
        if not values.is_spec(spec):
            raise ValueError(
                "opcode %s: %s=%r must be (type, least, most[, default])" % (name, key, spec)
            )
    return offer


def _check_name(name):
    good = isinstance(name, str) and 0 < len(name) <= _NAME_SIZE and "a" <= name[0] <= "z"
    if not good or any(char not in _NAME_CHARS for char in name):
        raise ValueError("opcode %r: a to z, 0 to 9, dots, at most %d" % (name, _NAME_SIZE))


def check(specs, given):
    """Returns the arguments to call a function with: those given, and defaults. Raises
    ValueError, one line for the person who sent them. Specifications with a "*" accept
    everything: the function checks it itself.
    """
    if "*" in specs:
        return given
    for name in given:
        if name not in specs:
            known = ", ".join(sorted(specs)) or "none"
            raise ValueError("there is no argument %s; it takes %s" % (name, known))
    taken = {}
    for name, spec in specs.items():
        if name in given:
            values.check(name, spec, given[name])
            taken[name] = given[name]
        elif values.has_default(spec):
            taken[name] = spec[-1]
        else:
            raise ValueError("%s is missing: %s" % (name, values.expected(spec)))
    return taken


def describe(entry):
    """[role, limit in s, heavy, {argument: [type, least, most, default]}] of an Opcode, as the
    opcode `ops` answers; the default only if there is one.
    """
    arguments = {
        name: [spec[0].__name__] + list(spec[1:]) for name, spec in entry.arguments.items()
    }
    return [entry.role, entry.limit_s, entry.heavy, arguments]
